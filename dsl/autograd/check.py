"""Gradients against differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tdsl.autograd.engine import grad
from tdsl.autograd.modes import enable_grad, no_grad
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import GradError, ValueError
from tdsl.tensor import Tensor, from_array


def _outputs(function: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    result = function(*inputs)
    found = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in found if isinstance(y, Tensor) and y.dtype.is_float]


def gradcheck(
    func: Callable[..., Any], inputs: Any, *more: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, **_: Any,
) -> bool:  # fmt: skip
    """Whether the gradients of `func` by its floating inputs equal central differences, in float64.

    `inputs` is a tuple, or a tensor followed by more. Raises GradError where they differ, or returns False.
    """
    args = [*(inputs if isinstance(inputs, tuple | list) else (inputs,)), *more]
    args = [_leaf(x) for x in args]
    wanted = [k for k, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    if any(args[k].dtype is not dt.f64 for k in wanted):
        warnings.warn(
            "Input #0 requires gradient and is not a double precision floating point or complex. This check will "
            "likely fail if all the inputs are not of double precision floating point or complex. ",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    for j, y in enumerate(_outputs(func, args)):
        for k in wanted:
            numeric = _differences(func, args, k, j, eps)
            analytic = _jacobian(func, args, k, j)
            if not np.allclose(analytic, numeric, rtol, atol):
                if not raise_exception:
                    return False
                raise GradError(
                    f"Jacobian mismatch for output {j} with respect to input {k},\nnumerical:{numeric}\n"
                    f"analytical:{analytic}\n"
                )
        del y
    return True


def _leaf(x: Any) -> Any:
    if isinstance(x, Tensor) and x.dtype is dt.f64 and not x.requires_grad:
        return x.detach().clone().requires_grad_()
    return x


def _jacobian(func: Callable[..., Any], args: list[Any], k: int, j: int) -> np.ndarray[Any, Any]:
    y = _outputs(func, args)[j]
    rows = np.zeros((args[k].numel(), y.numel()))
    for m in range(y.numel()):
        if not y.requires_grad:
            break
        seed = np.zeros(y.numel(), y.dtype.numpy)
        seed[m] = 1
        (g,) = grad(y, args[k], from_array(seed.reshape(tuple(y.shape))), retain_graph=True, allow_unused=True)
        if g is not None:
            rows[:, m] = np.array(g.detach().array()).reshape(-1)
    return rows


def _differences(func: Callable[..., Any], args: list[Any], k: int, j: int, eps: float) -> np.ndarray[Any, Any]:
    x = np.array(args[k].detach().array())
    columns = []
    with no_grad():
        for m in range(x.size):
            ends = []
            for step in (eps, -eps):
                moved = x.copy().reshape(-1)
                moved[m] += step
                changed = list(args)
                changed[k] = from_array(moved.reshape(x.shape))
                ends.append(np.array(_outputs(func, changed)[j].array(), np.float64).reshape(-1))
            columns.append((ends[0] - ends[1]) / (2 * eps))
    return np.array(columns).reshape(x.size, -1)


def gradgradcheck(func: Callable[..., Any], inputs: Any, *more: Any, eps: float = 1e-6, atol: float = 1e-5,
                  rtol: float = 1e-3, **options: Any) -> bool:  # fmt: skip
    """gradcheck of the gradient."""
    args = [_leaf(x) for x in [*(inputs if isinstance(inputs, tuple | list) else (inputs,)), *more]]
    rng = np.random.default_rng(0)
    seeds = [from_array(rng.standard_normal(tuple(y.shape))).requires_grad_() for y in _outputs(func, args)]
    count = len(args)

    def gradient(*both: Any) -> tuple[Tensor, ...]:
        xs, gs = list(both[:count]), both[count:]
        xs = [
            x.requires_grad_() if isinstance(x, Tensor) and x.dtype.is_float and not x.requires_grad else x for x in xs
        ]
        wanted = [x for x in xs if isinstance(x, Tensor) and x.dtype.is_float]
        with enable_grad():
            found = grad(_outputs(func, xs), wanted, list(gs), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, (*args, *seeds), eps=eps, atol=atol, rtol=rtol, **options)
