"""`vmap`: a function of single elements applied to a batch, recorded once and rebuilt with the batch in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from tdsl.compiler.graph import Type
from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.func.batching import Batcher, Unbatchable
from tdsl.func.standins import Trace, refusal
from tdsl.func.tree import LEAF, Spec, flatten, spread, unflatten
from tdsl.random import default_generator
from tdsl.recording import NeedsValue
from tdsl.shapes import cat, stack
from tdsl.tensor import Tensor

_RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """`func` over a batch: the inputs have one dimension more than it expects, at `in_dims` (None: the same for all).

    The function runs once. Its results have the batch at `out_dims`. Random numbers inside it: "error", "same" for
    every element, or "different". At most `chunk_size` elements are computed at a time.

    >>> import tdsl
    >>> tdsl.vmap(tdsl.dot)(tdsl.ones(2, 3), tdsl.arange(6.0).reshape(2, 3))
    tensor([ 3., 12.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, in_dims, out_dims, randomness)
        size, dims, leaves, spec = call.inputs(args, kwargs)
        if chunk_size is None or chunk_size >= size:
            return call.run(size, dims, leaves, spec)
        return call.in_chunks(size, dims, leaves, spec, chunk_size)

    return mapped


def _name(func: Any) -> str:
    if isinstance(func, partial):
        return f"functools.partial({_name(func.func)}, ...)"
    return getattr(func, "__name__", None) or repr(func)


class _Call:
    """One call of a mapped function."""

    def __init__(self, func: Callable[..., Any], in_dims: Any, out_dims: Any, randomness: str) -> None:
        self.func, self.in_dims, self.out_dims, self.randomness = func, in_dims, out_dims, randomness
        self.name = _name(func)

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, list[Any], list[Any], Spec]:
        """The batch's size, the mapped dimension of each leaf of the inputs, the leaves, and their structure."""
        head = f"vmap({self.name}, in_dims={self.in_dims}, ...)(<inputs>): "
        if not isinstance(self.in_dims, int | tuple):
            raise ValueError(
                f"{head}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
                f"got: {type(self.in_dims)}."
            )
        if not args and not kwargs:
            raise ValueError(
                f"vmap({self.name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to "
                "vmap over a function with no inputs. The latter is unsupported."
            )
        first, args_spec = flatten(args)
        found = spread(self.in_dims, args_spec)
        if found is None:
            raise ValueError(
                f"{head}in_dims is not compatible with the structure of `inputs`. in_dims has structure "
                f"{_shown(flatten(self.in_dims)[1])} but inputs has structure {_shown(args_spec)}."
            )
        leaves, spec = flatten((args, kwargs))
        dims = found + [None] * (len(leaves) - len(first))  # keywords are the same for all
        sizes = []
        for k, (x, d) in enumerate(zip(leaves, dims, strict=True)):
            self._check(head, x, d)
            if d is not None:
                dims[k] = d % x.ndim
                sizes.append(x.shape[dims[k]])
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if any(n != sizes[0] for n in sizes):
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                f"{sizes} for the mapped dimension"
            )
        return sizes[0], dims, leaves, spec

    def _check(self, head: str, x: Any, d: Any) -> None:
        if d is not None and not isinstance(d, int):
            raise ValueError(
                f"{head}Got in_dim={d} for an input but in_dim must be either an integer dimension or None."
            )
        if d is not None and not isinstance(x, Tensor):
            raise ValueError(
                f"{head}Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if d is not None and not -x.ndim <= d < x.ndim:
            raise ValueError(
                f"{head}Got in_dim={d} for some input, but that input is a Tensor of dimensionality {x.ndim} so "
                f"expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
            )

    # ---- running

    def in_chunks(self, size: int, dims: list[Any], leaves: list[Any], spec: Spec, chunk: int) -> Any:
        """The batch in parts, the results joined along their out_dims."""
        parts, structure = [], None
        for start in range(0, size, chunk):
            n = min(chunk, size - start)
            some = [x if d is None else x.narrow(d, start, n) for x, d in zip(leaves, dims, strict=True)]
            part, structure = flatten(self.run(n, dims, some, spec))
            parts.append(part)
        where = self._out_dims(structure)
        joined = [
            rows[0] if d is None else cat(rows, d) for rows, d in zip(zip(*parts, strict=True), where, strict=True)
        ]
        return unflatten(joined, structure)

    def run(self, size: int, dims: list[Any], leaves: list[Any], spec: Spec) -> Any:
        state = default_generator.get_state()
        before = state.tolist()
        trace = Trace()
        try:
            return self._recorded(trace, size, dims, leaves, spec, before)
        except Unbatchable:
            default_generator.set_state(state)
        except NeedsValue as error:
            refused = refusal(error)
            if refused is not None:
                raise refused from None
            default_generator.set_state(state)
        return self._looped(size, dims, leaves, spec, before)

    def _recorded(self, trace: Trace, size: int, dims: list[Any], leaves: list[Any], spec: Spec, before: Any) -> Any:
        """The function run once with stand-ins, its graph rebuilt for the batch."""
        known, given = {}, []
        for x, d in zip(leaves, dims, strict=True):
            if d is None:
                given.append(x)
                continue
            first = x if d == 0 else x.movedim(d, 0)
            type_ = Type(x.dtype, tuple(first.shape[1:]))
            given.append(trace.standin(type_, x.requires_grad))
            known[given[-1].value] = first.value
        with trace:  # to the end: whatever is run meanwhile leaves the stand-ins alone
            args, kwargs = unflatten(given, spec)
            outputs, structure = flatten(self.func(*args, **kwargs))
            return unflatten(
                self._rebuilt(trace, known, size, outputs, self._checked(outputs, structure), before), structure
            )

    def _rebuilt(
        self, trace: Trace, known: dict[Any, Any], size: int, outputs: list[Any], where: list[int | None], before: Any
    ) -> list[Tensor]:
        drawn = default_generator.get_state().tolist() != before
        if drawn and self.randomness == "error":
            raise RuntimeError(_RANDOM)
        different = drawn and self.randomness == "different"
        batcher = Batcher(size, known, trace.start, different)
        values = [y.value for y in outputs]
        batcher.run(values)
        if different and not any(v.op is not None and v.op.name == "random" for v in batcher.batched):
            raise Unbatchable  # drawn, but not as recorded numbers
        results = []
        for y, d in zip(outputs, where, strict=True):
            batched = y.value in batcher.batched
            if d is None and batched:
                raise ValueError(
                    f"vmap({self.name}, ...): `{self.name}` can not return a BatchedTensor when out_dim is None"
                )
            batcher.taped = y.value.tape is not None
            full = batcher.batched[y.value] if batched else batcher.full(y.value, d is None)
            results.append(self._placed(Tensor(full) if batched or d is not None else y, d))
        return results

    def _looped(self, size: int, dims: list[Any], leaves: list[Any], spec: Spec, before: Any) -> Any:
        """The function run for each element: what it does cannot be recorded for all at once."""
        rows, structure = [], None
        state = default_generator.get_state()
        for k in range(size):
            if self.randomness == "same":
                default_generator.set_state(state)
            given = [x if d is None else x.select(d, k) for x, d in zip(leaves, dims, strict=True)]
            args, kwargs = unflatten(given, spec)
            row, structure = flatten(self.func(*args, **kwargs))
            if self.randomness == "error" and default_generator.get_state().tolist() != before:
                raise RuntimeError(_RANDOM)
            rows.append(row)
        if structure is None:
            raise ValueError("vmap: the function cannot be recorded for an empty batch")
        where = self._checked(rows[0], structure)
        columns = zip(zip(*rows, strict=True), where, strict=True)
        return unflatten([c[0] if d is None else self._placed(stack(c), d) for c, d in columns], structure)

    # ---- results

    def _placed(self, y: Tensor, d: int | None) -> Tensor:
        return y if d is None or d % max(y.ndim, 1) == 0 else y.movedim(0, d)

    def _checked(self, outputs: list[Any], structure: Spec) -> list[int | None]:
        where = self._out_dims(structure)
        for y, d in zip(outputs, where, strict=True):
            if not isinstance(y, Tensor):
                raise ValueError(
                    f"vmap({self.name}, ...): `{self.name}` must only return Tensors, got type {type(y)}. Did you mean "
                    "to set out_dims= to None for output?"
                )
            if d is not None and not -(y.ndim + 1) <= d <= y.ndim:
                raise ValueError(
                    f"vmap({self.name}, ..., out_dims={self.out_dims}): Got out_dim={d} for an output of "
                    f"dimensionality {y.ndim}."
                )
        return where

    def _out_dims(self, structure: Spec) -> list[int | None]:
        out_dims = self.out_dims
        if structure == LEAF and isinstance(out_dims, tuple) and len(out_dims) == 1:
            out_dims = out_dims[0]
        for d in flatten(out_dims)[0]:
            if d is not None and not isinstance(d, int):
                raise ValueError(
                    f"vmap({self.name}, ..., out_dims={self.out_dims}): `out_dims` must be an int, None or a python "
                    "collection of ints representing where in the outputs the vmapped dimension should appear."
                )
        found = spread(out_dims, structure)
        if found is None:
            raise ValueError(
                f"vmap({self.name}, ..., out_dims={self.out_dims})(<inputs>): out_dims is not compatible with the "
                f"structure of `outputs`. out_dims has structure {_shown(flatten(out_dims)[1])} but outputs has "
                f"structure {_shown(structure)}."
            )
        return found


def _shown(spec: Spec) -> str:
    """A structure in words: (*, {'a': *})."""
    if spec == LEAF:
        return "*"
    kind, keys, parts = spec
    texts = [_shown(p) for p in parts]
    if keys is not None:
        return "{" + ", ".join(f"{k!r}: {t}" for k, t in zip(keys, texts, strict=True)) + "}"
    return f"[{', '.join(texts)}]" if kind is list else f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
