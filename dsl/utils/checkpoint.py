"""Less memory for more work: what a part of a model computes is computed again for the backward, not kept.

tdsl records what is computed, so a value that is not kept is made again from what was recorded, random numbers
included: the function runs once, and `.grad`, `autograd.grad`, hooks and closures work as without checkpoints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tdsl.autograd.modes import no_grad
from tdsl.compiler.source import ValueError
from tdsl.recording import Mode
from tdsl.tensor import Tensor

_EXPLICIT = (
    "tdsl.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
    "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True."
)


def checkpoint(
    function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, context_fn: Any = None,
    determinism_check: str = "default", debug: bool = False, early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """`function(*args, **kwargs)` whose intermediate values are not kept for the backward.

    As in PyTorch, `use_reentrant=True` gives gradients only where an input requires one.
    """
    if use_reentrant is None:
        warnings.warn(_EXPLICIT, UserWarning, stacklevel=2)
        use_reentrant = True
    kwargs.pop("preserve_rng_state", None)  # the numbers are part of what was recorded
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if use_reentrant and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", UserWarning, stacklevel=2)
        with no_grad():
            return function(*args)
    before, Mode.recompute = Mode.recompute, True
    try:
        return function(*args, **kwargs)
    finally:
        Mode.recompute = before


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Modules one after another in so many segments; all but the last are checkpoints."""
    if use_reentrant is None:
        warnings.warn(_EXPLICIT, UserWarning, stacklevel=2)
        use_reentrant = True
    kwargs.pop("preserve_rng_state", None)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for module in parts[start:end]:
                x = module(x)
            return x

        return forward

    size = len(parts) // segments
    at = 0
    for start in range(0, size * (segments - 1), size):
        at = start + size
        input = checkpoint(part(start, at), input, use_reentrant=use_reentrant)
    return part(at, len(parts))(input)
