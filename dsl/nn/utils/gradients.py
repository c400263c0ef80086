"""Gradients clipped, parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tdsl.autograd.modes import no_grad
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.creation import zeros
from tdsl.shapes import cat, stack
from tdsl.statistics import norm
from tdsl.tensor import Tensor


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all tensors together."""
    grads = _listed(tensors)
    if not grads:
        return zeros(())
    total = norm(stack([norm(g, norm_type) for g in grads]), norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients so that a total norm becomes at most max_norm."""
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for p in _listed(parameters):
        if p._grad is not None:
            p._grad.mul_(scale)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients so that their norm together is at most max_norm; gives the norm before."""
    tensors = _listed(parameters)
    total = get_total_norm([p._grad for p in tensors if p._grad is not None], float(norm_type), error_if_nonfinite)
    clip_grads_with_norm_(tensors, max_norm, total)
    return total


clip_grad_norm = clip_grad_norm_


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Every gradient's elements between -clip_value and clip_value."""
    for p in _listed(parameters):
        if p._grad is not None:
            p._grad.clamp_(-float(clip_value), float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements one after another."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """The elements of a vector back into the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected tdsl.Tensor, but got: {type(vec).__name__}")
    at = 0
    for p in parameters:
        p.copy_(vec[at : at + p.numel()].reshape(tuple(p.shape)))
        at += p.numel()
