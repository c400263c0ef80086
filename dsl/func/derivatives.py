"""Derivatives as functions of functions. Everything is recorded; `jvp` differentiates the vjp, which is linear."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from tdsl.autograd import engine
from tdsl.autograd.modes import enable_grad
from tdsl.compiler.graph import Value, apply
from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.creation import eye
from tdsl.func.tree import Spec, flatten, tree_map, unflatten
from tdsl.func.vmap import vmap
from tdsl.recording import Mode, Tape, record
from tdsl.tensor import Tensor

Argnums = int | tuple[int, ...]
_JVP = "jvp(f, primals, tangents)"


class _Level:
    """One transform that is at work: the leaves it differentiates by."""

    over: weakref.WeakSet[Value] = weakref.WeakSet()  # leaves of transforms that have returned

    def __init__(self) -> None:
        self.leaves: list[Value] = []

    def primal(self, x: Any) -> tuple[Tensor, Tensor]:
        """The tensor to differentiate by, and the one the function gets: it may change that in place."""
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        if not x.dtype.is_float:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        value = record("reshape", x.value, shape=tuple(x.shape))
        handle = Tensor(value)
        if value.tape is None:
            value.tape = Tape(weakref.ref(handle))
            value.owner = weakref.ref(handle)
            self.leaves.append(value)
        return handle, Tensor(record("reshape", value, shape=tuple(x.shape)))

    def result(self, x: Any) -> Any:
        """Off the tape when nothing outside this transform can differentiate it."""
        if not isinstance(x, Tensor) or x.value.tape is None:
            return x
        leaves = [v for v in engine._order([x.value]) if isinstance(v, Value) and not engine._children(v)]
        outside = any(v.tape.leaf is not None and v not in self.over for v in leaves)
        return x if outside or any(v.tape.leaf is None for v in leaves) else Tensor(apply("detach", x.value))


@contextmanager
def _transform() -> Iterator[_Level]:
    level = _Level()
    Mode.transforms += 1
    try:
        with enable_grad():
            yield level
    finally:
        Mode.transforms -= 1
        _Level.over.update(level.leaves)


def _grads(outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor | None]) -> list[Tensor]:
    """The gradients of what requires one; zeros where there is none."""
    kept = [(y, s) for y, s in zip(outputs, seeds, strict=True) if y.value.tape is not None]
    if not kept:
        return [_zeros(x) for x in inputs]
    ys, ss = zip(*kept, strict=True)
    found = engine.grad(ys, inputs, list(ss), create_graph=True, materialize_grads=True)
    return [_zeros(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _zeros(x: Tensor) -> Tensor:
    zero = apply("constant", value=0.0, dtype=x.dtype)
    return Tensor(apply("full", zero, shape=tuple(x.shape)) if x.ndim else zero)


# ---- argnums


def _argnum(k: Any, n: int) -> int:
    if not isinstance(k, int):
        raise RuntimeError(f"argnum must be int, got: {type(k)}")
    if not -n <= k < n:
        raise RuntimeError(f"Got argnum={k}, but only {n} positional inputs")
    return k % n


def _places(argnums: Argnums, n: int) -> list[int]:
    if not isinstance(argnums, int | tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    places = [_argnum(k, n) for k in (argnums if isinstance(argnums, tuple) else (argnums,))]
    if not places:
        raise RuntimeError("argnums must be non-empty")
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return places


class _Primals:
    """The arguments of a call, those at `places` made differentiable."""

    def __init__(self, level: _Level, args: tuple[Any, ...], places: Sequence[int]) -> None:
        leaves, self.spec = flatten(tuple(args[k] for k in places))
        pairs = [level.primal(x) for x in leaves]
        self.handles = [h for h, _ in pairs]
        inner = iter(unflatten([x for _, x in pairs], self.spec))
        given = dict(zip(places, inner, strict=True))
        self.args = tuple(given.get(k, x) for k, x in enumerate(args))


def _aux(result: Any, has_aux: bool, words: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(words)
    return result


# ---- grad, vjp, jvp


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (gradient of `func` by the arguments at argnums, value); with aux, (.., (value, aux))."""

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        places = _places(argnums, len(args))
        with _transform() as level:
            primals = _Primals(level, args, places)
            output, aux = _aux(
                func(*primals.args, **kwargs), has_aux,
                "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True",
            )  # fmt: skip
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.ndim != 0:
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            gradients = _grads([output], primals.handles, [None])
        found = unflatten([level.result(g) for g in gradients], primals.spec)
        value = level.result(output)
        found = found if isinstance(argnums, tuple) else found[0]
        return (found, (value, tree_map(level.result, aux))) if has_aux else (found, value)

    return wrapped


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `func`, which gives a 0-d tensor; with aux, (gradient, aux).

    >>> import tdsl
    >>> tdsl.func.grad(tdsl.func.grad(lambda x: x**3))(tdsl.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), vjp_fn): vjp_fn(cotangents of the outputs) gives the tuple of gradients by the primals."""
    return _vjp(func, primals, range(len(primals)), has_aux)


def _vjp(func: Callable[..., Any], args: tuple[Any, ...], places: Sequence[int], has_aux: bool) -> Any:
    with _transform() as level:
        primals = _Primals(level, args, list(places))
        words = "vjp(f, *primals): output of function f should be a tuple: (output, aux) if has_aux is True"
        result, aux = _aux(func(*primals.args), has_aux, words)
        outputs, spec = flatten(result)
        _check_outputs(outputs, result, "vjp(f, *primals)")
        for y in outputs:
            if not y.dtype.is_float:
                raise RuntimeError(
                    "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                    f"{y.dtype}"
                )

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        seeds, given = flatten(cotangents)
        if given != spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given}, primal output: {spec}"
            )
        with enable_grad():
            found = _grads(outputs, primals.handles, seeds)
        return unflatten([level.result(g) for g in found], primals.spec)

    shown = unflatten([level.result(y) for y in outputs], spec)
    return (shown, pull, tree_map(level.result, aux)) if has_aux else (shown, pull)


def _check_outputs(outputs: Sequence[Any], result: Any, api: str) -> None:
    if not outputs or result is None:
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {outputs})")
    for y in outputs:
        if not isinstance(y, Tensor):
            raise RuntimeError(f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(y)}")


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """(func(*primals), its derivative along the tangents); with aux, one more."""
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    return _jvp(func, primals, tangents, range(len(primals)), strict, has_aux)


def _jvp(func: Any, args: Any, tangents: Any, places: Sequence[int], strict: bool, has_aux: bool) -> Any:
    directions, given = flatten(tangents)
    leaves, spec = flatten(tuple(args[k] for k in places))
    if spec != given:
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{given}"
        )
    for name, xs in (("primals", leaves), ("tangents", directions)):
        if not xs:
            raise RuntimeError(f"{_JVP}: Expected {name} to contain at least one Tensor.")
        for x in xs:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{_JVP}: Expected {name} to only contain Tensors, got {type(x)}")
    with _transform() as level:
        primals = _Primals(level, args, list(places))
        words = f"{_JVP}: output of function f should be a tuple: (output, aux) if has_aux is True"
        result, aux = _aux(func(*primals.args), has_aux, words)
        outputs, structure = flatten(result)
        _check_outputs(outputs, result, _JVP)
        if strict and any(y.value.tape is None for y in outputs):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                "allowed with strict=True."
            )
        pushed = _pushed(level, outputs, primals.handles, directions)
    shown = unflatten([level.result(y) for y in outputs], structure)
    along = unflatten([level.result(t) for t in pushed], structure)
    return (shown, along, tree_map(level.result, aux)) if has_aux else (shown, along)


def _pushed(
    level: _Level, outputs: Sequence[Tensor], inputs: Sequence[Tensor], directions: Sequence[Tensor]
) -> list[Tensor]:
    """d/du <vjp(u), direction>: the vjp is linear in u, so where u lies does not matter."""
    seeds = [level.primal(_zeros(y))[0] if y.dtype.is_float else None for y in outputs]
    kept = [(y, s) for y, s in zip(outputs, seeds, strict=True) if s is not None]
    if not kept:
        return [_zeros(y) for y in outputs]
    pulled = _grads([y for y, _ in kept], inputs, [s for _, s in kept])
    casted = [d if d.dtype is x.dtype else d.to(x.dtype) for d, x in zip(directions, inputs, strict=True)]
    found = iter(_grads(pulled, [s for _, s in kept], casted))
    return [_zeros(y) if s is None else next(found) for y, s in zip(outputs, seeds, strict=True)]


# ---- Jacobians


def _basis(tensors: Sequence[Tensor]) -> list[Tensor]:
    """For tensors of N elements in all: their N unit vectors, cut into the tensors' shapes."""
    total, at, result = sum(x.numel() for x in tensors), 0, []
    for x in tensors:
        part = eye(total, dtype=x.dtype)[:, at : at + x.numel()]
        result.append(part.reshape(total, *x.shape))
        at += x.numel()
    return result


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `func`, by one vjp of a batch of cotangents.

    The Jacobian of an output by an argument has the output's dimensions, then the argument's.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @wraps(func)
    def wrapped(*args: Any) -> Any:
        places = _places(argnums, len(args))
        found = _vjp(func, args, places, has_aux)
        outputs, spec = flatten(found[0])
        rows = vmap(lambda *c: found[1](unflatten(c, spec)), chunk_size=chunk_size)(*_basis(outputs))
        columns, structure = flatten(rows)
        leaves = flatten(tuple(args[k] for k in places))[0]
        result, at = [], 0
        for y in outputs:
            parts = [c[at : at + y.numel()].reshape(*y.shape, *x.shape) for c, x in zip(columns, leaves, strict=True)]
            result.append(_by_argument(parts, structure, argnums))
            at += y.numel()
        jacobian = unflatten(result, spec)
        return (jacobian, found[2]) if has_aux else jacobian

    return wrapped


def _by_argument(parts: Sequence[Tensor], structure: Spec, argnums: Argnums) -> Any:
    both = unflatten(parts, structure)
    return both if isinstance(argnums, tuple) else both[0]


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """As `jacrev`, by one jvp of a batch of tangents: cheaper where there are more outputs than inputs."""

    @wraps(func)
    def wrapped(*args: Any) -> Any:
        places = _places(argnums, len(args))
        leaves, structure = flatten(tuple(args[k] for k in places))
        if not leaves:
            raise RuntimeError("jacfwd: Expected primals to contain at least one Tensor.")

        def push(*tangents: Tensor) -> Any:
            return _jvp(func, args, unflatten(tangents, structure), places, False, has_aux)[1:]

        pushed, *aux = vmap(push, randomness=randomness)(*_basis(leaves))
        columns, spec = flatten(pushed)
        result = []
        for c in columns:
            moved, at, parts = c.movedim(0, -1), 0, []
            for x in leaves:
                parts.append(moved[..., at : at + x.numel()].reshape(*c.shape[1:], *x.shape))
                at += x.numel()
            result.append(_by_argument(parts, structure, argnums))
        jacobian = unflatten(result, spec)
        return (jacobian, tree_map(lambda x: x[0], aux[0])) if has_aux else jacobian

    return wrapped


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns the matrix of second derivatives."""
    return jacfwd(jacrev(func, argnums), argnums)
