"""What training loops do to gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tdsl.autograd.modes import no_grad
from tdsl.creation import zeros
from tdsl.shapes import cat, stack
from tdsl.statistics import norm
from tdsl.tensor import Tensor


@no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, *_: Any) -> Tensor:
    """Scale all gradients so that their norm together is at most max_norm; gives the norm before."""
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [p._grad for p in tensors if p._grad is not None]
    if not grads:
        return zeros(())
    total = norm(stack([norm(g, norm_type) for g in grads]), norm_type)
    scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    for p in [parameters] if isinstance(parameters, Tensor) else parameters:
        if p._grad is not None:
            p._grad.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    at = 0
    for p in parameters:
        p.copy_(vec[at : at + p.numel()].reshape(tuple(p.shape)))
        at += p.numel()
