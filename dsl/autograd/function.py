"""Functions with a hand-written backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

from tdsl.autograd.engine import check_version
from tdsl.compiler.autodiff import build
from tdsl.compiler.graph import Value, apply
from tdsl.compiler.ops.view import sum_to
from tdsl.compiler.source import GradError, TypeError
from tdsl.recording import Mode, Tape, here
from tdsl.tensor import Tensor


class FunctionContext:
    """What forward leaves for backward."""

    def __init__(self) -> None:
        self._saved: tuple[Tensor | None, ...] = ()
        self._fixed: tuple[Value | None, ...] | None = None
        self._dirty: tuple[Tensor, ...] = ()
        self._no_grad: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward; a later in-place change of one is an error there."""
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(x).__name__}"
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._fixed is None:
            return self._saved
        for v in self._fixed:
            if v is not None:
                check_version(v, "")
        return tuple(None if v is None else Tensor(v) for v in self._fixed)

    def mark_dirty(self, *tensors: Tensor) -> None:
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self._no_grad = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self._materialize = value


class FunctionNode:
    """One application of a Function, on the tape."""

    def __init__(
        self, cls: type[Function], ctx: FunctionContext, inputs: Sequence[Value | None], is_tensor: Any
    ) -> None:
        self.cls, self.ctx, self.inputs, self.is_tensor = cls, ctx, list(inputs), is_tensor
        self.outputs: list[tuple[Any, Any]] = []  # dtype and shape of each
        self.freed = False
        self.after: dict[int, Any] | None = None
        self.node: Any = None
        self.span = here(3)

    @property
    def name(self) -> str:
        return f"{self.cls.__name__}Backward"

    @property
    def saved(self) -> bool:
        return bool(self.ctx._fixed)

    def free(self) -> None:
        self.ctx._fixed = ()

    def pull_back(self, grads: dict[int, Value]) -> list[Tensor | None]:
        """The user's backward, checked: one gradient an input, each of its input's shape."""
        given: list[Tensor | None] = []
        for k, (dtype, shape) in enumerate(self.outputs):
            g = grads.get(k)
            if g is None and self.ctx._materialize and dtype is not None:
                g = apply("full", apply("constant", value=0.0, dtype=dtype), shape=shape)
            given.append(None if g is None else Tensor(g))
        result = self.cls.backward(self.ctx, *given)
        parts = list(result) if isinstance(result, tuple | list) else [result]
        n = len(self.inputs)
        if len(parts) > n and all(p is None for p in parts[n:]):
            parts = parts[:n]
        if len(parts) != n:
            raise GradError(
                f"function {self.name} returned an incorrect number of gradients (expected {n}, got {len(parts)})",
                code="E0601",
            )
        for k, (value, part) in enumerate(zip(self.inputs, parts, strict=True)):
            if value is not None and part is not None:
                parts[k] = self._fitted(k, value, part)
        return parts

    def _fitted(self, k: int, value: Value, part: Tensor) -> Tensor:
        if tuple(part.shape) != tuple(value.shape):
            if part.ndim < len(value.shape) or not _covers(part.shape, value.shape):
                raise GradError(
                    f"Function {self.name} returned an invalid gradient at index {k} - got {list(part.shape)} but "
                    f"expected shape compatible with {list(value.shape)}",
                    code="E0604",
                )
            part = Tensor(sum_to(build, part.value, value.shape))
        return part if part.dtype is value.dtype else part.to(value.dtype)  # type: ignore[no-any-return]


def _covers(big: Sequence[int], small: Sequence[Any]) -> bool:
    tail = list(big)[len(big) - len(small) :]
    return all(m in (1, n) for m, n in zip(small, tail, strict=True))


class Function:
    """Subclass with static `forward(ctx, *args)` and `backward(ctx, *grads)`, and call `apply`.

    >>> import tdsl
    >>> class Double(tdsl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = tdsl.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """For forwards without ctx: leaves things on ctx after the forward."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward without tape, and put one node for it on the tape."""
        ctx = FunctionContext()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        values = [None if t is None else t.value for t in tensors]
        ctx.needs_input_grad = tuple(v is not None and v.tape is not None for v in values)
        on, Mode.grad = Mode.grad, False
        try:
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        finally:
            Mode.grad = on
        if not (on and any(ctx.needs_input_grad)):
            ctx._fixed = tuple(None if t is None else t.value for t in ctx._saved)
            return result
        return cls._on_tape(ctx, tensors, values, result)

    @classmethod
    def _on_tape(cls, ctx: FunctionContext, tensors: Any, values: Any, result: Any) -> Any:
        node = FunctionNode(cls, ctx, values, None)
        outputs = list(result) if isinstance(result, tuple | list) else [result]
        made: list[Any] = []
        saved_as: dict[int, Value] = {id(t): v for t, v in zip(tensors, values, strict=True) if t is not None}
        for k, out in enumerate(outputs):
            if not isinstance(out, Tensor):
                node.outputs.append((None, None))
                made.append(out)
                continue
            differentiable = out.dtype.is_float and not any(out is t for t in ctx._no_grad)
            node.outputs.append((out.dtype if differentiable else None, tuple(out.shape)))
            if not differentiable:
                made.append(out)
                continue
            value = apply("detach", out.value)
            value.tape = Tape()
            value.tape.function, value.tape.output = node, k
            if any(out is t for t in ctx._dirty):
                out.assign(value)
                made.append(out)
            else:
                made.append(Tensor(value))
            saved_as[id(out)] = value
        ctx._fixed = tuple(None if t is None else saved_as.get(id(t), t.value) for t in ctx._saved)
        ctx._saved = ()
        return tuple(made) if isinstance(result, tuple | list) else made[0]


class _Once(Function):
    """Identity whose gradient is an error."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *gradients: Tensor) -> Tensor:
        return x.clone()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise GradError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(backward: Any) -> Any:
    """Marks a backward whose result cannot be differentiated again: that raises."""

    @wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        on, Mode.grad = Mode.grad, False
        try:
            result = backward(ctx, *grads)
        finally:
            Mode.grad = on
        sources = [g for g in grads if isinstance(g, Tensor) and g.requires_grad]
        sources += [t for t in ctx.saved_tensors if t is not None and t.requires_grad]
        if not (on and sources):
            return result
        parts = result if isinstance(result, tuple) else (result,)
        guarded = tuple(_Once.apply(p, *sources) if isinstance(p, Tensor) else p for p in parts)
        return guarded if isinstance(result, tuple) else guarded[0]

    return wrapped
