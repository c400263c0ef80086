"""Derivatives of a function at a point, in PyTorch's older form: `jacobian(func, inputs)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tdsl.autograd import engine
from tdsl.autograd.modes import enable_grad, set_grad_enabled
from tdsl.compiler.graph import apply
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
Function = Callable[..., Any]
Tensors = tuple[Tensor, ...]


def _tuple(given: Any, name: str, where: str) -> tuple[bool, Tensors]:
    several = isinstance(given, tuple)
    items = given if several else (given,)
    for k, x in enumerate(items):
        if isinstance(x, Tensor):
            continue
        what = f"the value at index {k}" if several else f"the given {name}"
        raise TypeError(
            f"The {name} given to {where} must be either a Tensor or a tuple of Tensors but {what} has type {type(x)}."
        )
    return several, items


def _inputs(inputs: Sequence[Tensor], create_graph: bool, need_graph: bool = True) -> Tensors:
    """What the function gets: joined to the graph of the inputs where that is wanted."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_(need_graph) for x in inputs
    )


def _results(tensors: Sequence[Tensor], several: bool, create_graph: bool) -> Any:
    found = tuple(x if create_graph else x.detach() for x in tensors)
    return found if several else found[0]


def _vector(v: Any, like: Sequence[Tensor], several: bool, create_graph: bool, where: str) -> Tensors:
    _, vector = _tuple(v, "v", where)
    vector = _inputs(vector, create_graph, False)
    if len(like) != len(vector):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vector)}."
            if several
            else "The given v should contain a single Tensor."
        )
    for k, (x, y) in enumerate(zip(vector, like, strict=True)):
        if x.shape != y.shape:
            entry = f"Entry {k} in " if several else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {y.shape} but got {x.shape}.")
    return vector


def _grads(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor | None] | None, create_graph: bool
) -> list[Tensor | None]:
    pairs = zip(outputs, seeds or [None] * len(outputs), strict=True)
    kept = [(y, s) for y, s in pairs if y.requires_grad]
    if not kept:
        return [None] * len(inputs)
    ys, ss = zip(*kept, strict=True)
    return list(engine.grad(ys, inputs, list(ss), create_graph=create_graph, allow_unused=True))


def _zeros(x: Tensor) -> Tensor:
    zero = apply("constant", value=0.0, dtype=x.dtype)
    return Tensor(apply("full", zero, shape=tuple(x.shape)) if x.ndim else zero)


_FORBIDDEN = " This is not allowed in strict mode."


def _filled(
    grads: Sequence[Tensor | None], like: Sequence[Tensor], strict: bool, create_graph: bool, what: str
) -> list[Tensor]:
    """Zeros where there is no gradient; in strict mode an error, `what` being independent of an input."""
    result = []
    for k, (g, x) in enumerate(zip(grads, like, strict=True)):
        if g is None and strict:
            raise RuntimeError(f"{what} is independent of {'entry' if 'gradient' in what else 'input'} {k}"
                               f"{' in the grad_outputs' if 'gradient' in what else ''}.{_FORBIDDEN}")  # fmt: skip
        if g is not None and strict and create_graph and not g.requires_grad:
            raise RuntimeError(
                f"The jacobian of the user-provided function is independent of input {k}.{_FORBIDDEN[:-1]} when "
                "create_graph=True."
            )
        result.append(_zeros(x) if g is None else g)
    return result


def _check_outputs(outputs: Sequence[Tensor], strict: bool) -> None:
    for k, y in enumerate(outputs):
        if strict and not y.requires_grad:
            raise RuntimeError(
                f"Output {k} of the user-provided function does not require gradients. The outputs must be computed in "
                "a differentiable manner from the input when running in strict mode."
            )


_FUNCTION = "The output of the user-provided function"
_NO_VECTOR = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."
)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, v times the Jacobian)."""
    with enable_grad():
        several, items = _tuple(inputs, "inputs", "vjp")
        items = _inputs(items, create_graph)
        many, outputs = _tuple(func(*items), "outputs of the user-provided function", "vjp")
        _check_outputs(outputs, strict)
        if v is not None:
            vector: Any = _vector(v, outputs, many, create_graph, "vjp")
        elif len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a single "
                "element."
            )
        else:
            vector = None
    with set_grad_enabled(True if create_graph else engine.Mode.grad):
        found = _filled(_grads(outputs, items, vector, create_graph), items, strict, create_graph, _FUNCTION)
    return _results(outputs, many, create_graph), _results(found, several, create_graph)


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, the Jacobian times v)."""
    with enable_grad():
        several, items = _tuple(inputs, "inputs", "jvp")
        items = _inputs(items, create_graph)
        vector: Any = None
        if v is not None:
            vector = _vector(v, items, several, create_graph, "jvp")
        elif len(items) != 1 or items[0].numel() != 1:
            raise RuntimeError(_NO_VECTOR)
        many, outputs = _tuple(func(*items), "outputs of the user-provided function", "jvp")
        _check_outputs(outputs, strict)
        seeds = [_zeros(y).requires_grad_() for y in outputs]
        pulled = _grads(outputs, items, seeds, True)
        for k, g in enumerate(pulled):
            if strict and g is None:
                raise RuntimeError(f"{_FUNCTION} is independent of input {k}.{_FORBIDDEN}")
        lines = [_zeros(x) if g is None else g for g, x in zip(pulled, items, strict=True)]
        words = "The gradient with respect to the input"
        found = _filled(_grads(lines, seeds, vector, create_graph), outputs, strict, create_graph, words)
    return _results(outputs, many, create_graph), _results(found, many, create_graph)


def jacobian(
    func: Function, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """All derivatives: of output i by input j, of shape output.shape + input.shape; nested tuples for several.

    All rows are computed at once, by a batch of gradients.
    """
    from tdsl.func.vmap import vmap

    with enable_grad():
        several, items = _tuple(inputs, "inputs", "jacobian")
        items = _inputs(items, create_graph)
        many, outputs = _tuple(func(*items), "outputs of the user-provided function", "jacobian")
        _check_outputs(outputs, strict)
        rows = []
        for k, y in enumerate(outputs):
            probe = _grads([y], items, [_zeros(y)], True)
            _filled(probe, items, strict, create_graph, f"Output {k} of the user-provided function")

            def one(seed: Tensor, y: Tensor = y) -> Tensors:
                found = _grads([y], items, [seed], True)
                return tuple(_zeros(x) if g is None else g for g, x in zip(found, items, strict=True))

            basis = _eye(y)
            found = vmap(one)(basis)
            parts = [g.reshape(*y.shape, *x.shape) for g, x in zip(found, items, strict=True)]
            rows.append(_results(parts, several, create_graph))
    return tuple(rows) if many else rows[0]


def _eye(y: Tensor) -> Tensor:
    from tdsl.creation import eye

    return eye(y.numel(), dtype=y.dtype).reshape(y.numel(), *y.shape)  # type: ignore[no-any-return]


def _single(func: Function, where: str) -> Function:
    """The function, checked to give one element."""

    def checked(*inputs: Tensor) -> Tensor:
        several, outputs = _tuple(func(*inputs), "outputs of the user-provided function", where)
        if several:
            raise RuntimeError(f"The function given to {where} should return a single Tensor")
        if outputs[0].numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {where} should contain a single element")
        return outputs[0].reshape(())  # type: ignore[no-any-return]

    return checked


def hessian(
    func: Function, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """All second derivatives of a function that gives one element."""
    several, items = _tuple(inputs, "inputs", "hessian")
    checked = _single(func, "hessian")

    def first(*xs: Tensor) -> Tensors:
        found: Tensors = jacobian(checked, xs, create_graph=True)
        for k, g in enumerate(found):
            if strict and not g.requires_grad:
                raise RuntimeError(
                    "While computing the hessian, found that the jacobian of the user-provided function with respect "
                    f"to input {k} is independent of the input.{_FORBIDDEN} You should ensure that your function is "
                    "twice differentiable and that the jacobian depends on the inputs (this would be violated by a "
                    "linear function for example)."
                )
        return found

    found = jacobian(first, items, create_graph=create_graph, strict=strict)
    return found if several else found[0][0]


def _product(
    func: Function, inputs: Any, v: Any, create_graph: bool, strict: bool, where: str
) -> tuple[bool, Tensors, Any, Tensor, list[Tensor]]:
    """What vhp and hvp share: inputs, v, the output and its gradient."""
    several, items = _tuple(inputs, "inputs", where)
    items = _inputs(items, create_graph)
    vector: Any = None
    if v is not None:
        vector = _vector(v, items, several, create_graph, where)
    elif len(items) != 1 or items[0].numel() != 1:
        raise RuntimeError(_NO_VECTOR)
    output = _single(func, where)(*items)
    _check_outputs([output], strict)
    first = _filled(_grads([output], items, None, True), items, strict, False, _FUNCTION)
    return several, items, vector, output, first


def vhp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(output, v times the Hessian)."""
    with enable_grad():
        several, items, vector, output, first = _product(func, inputs, v, create_graph, strict, "vhp")
        words = "The jacobian of the user-provided function"
        found = _filled(_grads(first, items, vector, create_graph), items, strict, create_graph, words)
    return _results([output], False, create_graph), _results(found, several, create_graph)


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(output, the Hessian times v)."""
    with enable_grad():
        several, items, vector, output, first = _product(func, inputs, v, create_graph, strict, "hvp")
        seeds = [_zeros(x).requires_grad_() for x in items]
        words = "The jacobian of the user-provided function"
        second = _filled(_grads(first, items, seeds, True), items, strict, True, words)
        words = "The hessian of the user-provided function"
        found = _filled(_grads(second, seeds, vector, create_graph), items, strict, create_graph, words)
    return _results([output], False, create_graph), _results(found, several, create_graph)
