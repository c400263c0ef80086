"""Elements written, added and reduced at positions that other tensors give, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdsl import indexing
from tdsl.broadcasting import expand
from tdsl.compiler import dtype as dt
from tdsl.compiler.ops.elementwise import broadcast
from tdsl.compiler.source import IndexError, RuntimeError, TypeError
from tdsl.copies import copied
from tdsl.elementwise import where
from tdsl.gathering import lifted, lowered, positions
from tdsl.tensor import Tensor, op, type_name, wrap_dim
from tdsl.views import flatten, reshape

__all__ = [
    "fill", "index_add", "index_copy", "index_fill", "index_put", "index_reduce", "masked_fill", "masked_scatter",
    "put", "scatter", "scatter_add", "scatter_reduce",
]  # fmt: skip

# ---- scatter


def _check_tensor(function: str, name: str, position: int, x: Any) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{function}(): argument '{name}' (position {position}) must be Tensor, not {type(x).__name__}")


def _check_scatter(input: Tensor, d: int, index: Tensor, src: Tensor | None) -> None:
    """PyTorch's rules for the shapes; tensors of no dimensions count as vectors of one element."""
    if max(input.ndim, 1) != max(index.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if src is not None and max(src.ndim, 1) != max(index.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    shape = lifted(index).shape
    beyond = any(k != d and m > n for k, (n, m) in enumerate(zip(lifted(input).shape, shape, strict=True)))
    if src is None:
        if beyond:
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from "
                f"dimension {d}"
            )
        return
    if beyond or any(m > n for n, m in zip(lifted(src).shape, shape, strict=True)):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension "
            f"{d} and to be no larger size than src {list(src.shape)}"
        )


_OPS = {"sum": "scatter_add", "prod": "scatter_mul", "amax": "scatter_max", "amin": "scatter_min", "": "scatter_put"}


def _scattered(input: Tensor, dim: int, index: Tensor, src: Any, reduce: str) -> Tensor:
    """A copy of input with src (a tensor, or a number) brought in at the index by one of `_OPS`."""
    d = wrap_dim(dim, input.ndim)
    place = lifted(positions("scatter", index))
    if isinstance(src, Tensor) and src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if place.numel() == 0:
        return copied(input)
    _check_scatter(input, d, index, src if isinstance(src, Tensor) else None)
    if isinstance(src, Tensor):
        part = lifted(src)
    else:
        part = expand(number_of("value", src, input), tuple(place.shape))
    if input.dtype is dt.bool_ and reduce:  # or, and: as sums and products of bytes
        result = _scattered(input.to(dt.u8), d, place, (part != 0).to(dt.u8), reduce.replace("sum", "amax"))
        return result != 0  # type: ignore[no-any-return]
    return lowered(op(_OPS[reduce], lifted(input), place, part, dim=d), input)


def number_of(what: str, value: Any, like: Tensor) -> Tensor:
    """A Python number as a 0-d tensor of like's dtype."""
    if isinstance(value, complex):
        raise RuntimeError(f"{what} cannot be converted to type {type_name(like.dtype).lower()} without overflow")
    if not isinstance(value, bool | int | float):
        raise TypeError(f"argument '{what}' must be Number, not {type(value).__name__}")
    return Tensor(indexing.filled(value, like.dtype))


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of input with src[i, j], or a number, written at [index[i, j], j] for dim 0, and so on.

    The last write to a place wins. With reduce="add" or "multiply" it is added or multiplied in.
    """
    source = value if src is None else src
    if source is None:
        raise TypeError("scatter() missing 1 required positional arguments: 'src' or 'value'")
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    return _scattered(input, dim, index, source, {None: "", "add": "sum", "multiply": "prod"}[reduce])


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of input with src[i, j] added at [index[i, j], j] for dim 0, and so on."""
    _check_tensor("scatter_add", "src", 3, src)
    return _scattered(input, dim, index, src, "sum")


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of input with src reduced into it at [index[i, j], j]: by "sum", "prod", "mean", "amax" or "amin".

    Without `include_self`, places that something is reduced into forget what input had there.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    _check_tensor("scatter_reduce", "src", 3, src)
    base = input if include_self else _scattered(input, dim, index, _neutral(reduce, input.dtype), "")
    if reduce != "mean":
        return _scattered(base, dim, index, src, reduce)
    total = _scattered(base, dim, index, src, "sum")
    return _mean(total, _counted(input, dim, index, src, include_self))


def _neutral(reduce: str, dtype: dt.DType) -> Any:
    """What a reduction starts from."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    low = reduce == "amax"
    if dtype.is_float:
        return float("-inf" if low else "inf")
    if dtype is dt.bool_:
        return not low
    if not dtype.signed:
        return 0 if low else (1 << dtype.bits) - 1
    return -(1 << (dtype.bits - 1)) if low else (1 << (dtype.bits - 1)) - 1


def _counted(input: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    """How many elements each place is the mean of, at least 1."""
    start = input.detach().new_ones(tuple(input.shape), dtype=_counting(input))
    start = start if include_self else start * 0
    ones = src.detach().new_ones(tuple(src.shape), dtype=_counting(input))
    count = _scattered(start, dim, index, ones, "sum")
    return count if include_self else count.clamp(min=1)  # type: ignore[no-any-return]


def _counting(x: Tensor) -> dt.DType:
    return x.dtype if x.dtype.is_float else dt.i64


def _mean(total: Tensor, count: Tensor) -> Tensor:
    if total.dtype.is_float:
        return total / count
    return total.div(count, rounding_mode="floor").to(total.dtype)  # type: ignore[no-any-return]


# ---- along one dimension, at the positions of a vector


def _check_vector(name: str, input: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    if index.ndim > 1:
        raise IndexError(
            f"{name}: Index is supposed to be a vector, but got dim: {index.ndim} with type: "
            f"{type_name(index.dtype)} and size: {list(index.shape)}"
        )
    if index.dtype not in (dt.i64, dt.i32):
        raise RuntimeError(f"{name}: Expected dtype int32/int64 for index but got: {type_name(index.dtype)}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: self ({type_name(input.dtype)}) and source ({type_name(source.dtype)}) must have the same "
            "scalar type"
        )
    if source.ndim and d >= source.ndim:
        raise RuntimeError(f"{name}: Indexing dim {d} is out of bounds of the source tensor with dim {source.ndim}")
    count = source.shape[d] if source.ndim else 1
    if index.numel() != count:
        raise RuntimeError(
            f"{name}: Number of indices ({index.numel()}) should be equal to source.size(dim): ({count}), for dim: {d}"
        )
    both = input.ndim > 0 and source.ndim > 0
    others = [tuple(s for k, s in enumerate(x.shape) if k != d or not both) for x in (input, source)]
    if others[0] != others[1]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(input.shape)} source.shape = {list(source.shape)}"
        )


def _along(index: Tensor, d: int, shape: Sequence[int]) -> Tensor:
    """A vector of positions in dimension d, as an index of this shape for gather and scatter."""
    column = reshape(index, tuple(index.numel() if k == d else 1 for k in range(len(shape))))
    return expand(column, tuple(shape))


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of input with the slices of source, times alpha, added at the positions of a vector."""
    _check_tensor("index_add", "source", 3, source)
    d = wrap_dim(dim, input.ndim)
    _check_vector("index_add_()", input, d, index, source)
    if input.numel() == 0:
        return copied(input)
    if input.dtype is dt.bool_:
        return _scattered(input, d, _along(index, d, lifted(source).shape), source if alpha else source & False, "sum")
    scaled = source if alpha == 1 else (source * alpha).to(input.dtype)
    x = lifted(input)
    place = reshape(index, -1).to(dt.i64)
    return lowered(op("take_add", x, place, lifted(scaled), dim=d, wrap=False), input)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of input with the slices of source reduced into it at the positions of a vector: "prod", "mean", ..."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = wrap_dim(dim, input.ndim)
    _check_vector("index_reduce_()", input, d, index, source)
    place = _along(index, d, lifted(source).shape)
    return scatter_reduce(input, d, place, lifted(source), reduce, include_self=include_self)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of input with the slices at the positions of a vector replaced by those of source."""
    d = wrap_dim(dim, input.ndim)
    _check_copy(input, d, index, source)
    if index.numel() == 0:
        return copied(input)
    part = lifted(source)
    if part.ndim < lifted(input).ndim:
        part = expand(part, tuple(1 if k == d else n for k, n in enumerate(input.shape)))
    place = reshape(index, -1)
    written = op("pick_put", lifted(input), place, part, dims=(d,), front=d, wrap=False)
    return lowered(written, input)


def _check_copy(input: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    if index.ndim > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {index.ndim})")
    if source.ndim == 0 and index.numel() != 1:
        raise IndexError(f"index_copy_(): When source is scalar, index should have one element (got {index.numel()})")
    if source.ndim != input.ndim and source.ndim and input.ndim:
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source "
            f"dimensionality ({source.ndim}), destination dimensionality ({input.ndim})"
        )
    if index.dtype is not dt.i64:
        raise RuntimeError(f"index_copy_(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{type_name(input.dtype)} and (source) {type_name(source.dtype)}"
        )
    slices = [[n for k, n in enumerate(x.shape) if k != d] for x in (input, source)]
    for k, (m, n) in enumerate(zip(*slices, strict=False)):
        if m != n:
            raise RuntimeError(
                "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
                f"{' '.join(map(str, slices[0]))} at dimension {d} and source slice shape: "
                f"{' '.join(map(str, slices[1]))} at dimension {k}."
            )
    if source.ndim and index.numel() != source.shape[d]:
        raise IndexError(
            f"index_copy_(): Number of indices ({index.numel()}) should be equal to source.size(dim) "
            f"({source.shape[d]})"
        )


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of input with a number in the slices at the positions of a vector."""
    if index.dtype is not dt.i64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    d = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    fill_value = _scalar("index_fill_", value, input)
    x = lifted(input)
    n = x.shape[d]
    hit = op("pick_put", _mask(n, False), reshape(index, -1), _mask(index.numel(), True), dims=(0,), front=0)
    column = reshape(hit, tuple(n if k == d else 1 for k in range(x.ndim)))
    return lowered(where(column, fill_value, x), input)


def _mask(n: int, value: bool) -> Tensor:
    """A mask of one value."""
    return expand(Tensor(indexing.filled(value, dt.bool_)), (n,))


def _scalar(name: str, value: Any, like: Tensor) -> Tensor:
    """A number, or a 0-d tensor, as a 0-d tensor of like's dtype."""
    if not isinstance(value, Tensor):
        return number_of("value", value, like)
    if value.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    return value.to(like.dtype)  # type: ignore[no-any-return]


# ---- anywhere


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with source written, or added, at positions of the flattened input."""
    if index.dtype is not dt.i64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{type_name(input.dtype)} and source.dtype = {type_name(source.dtype)}"
        )
    if source.numel() != index.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    if input.numel() == 0 and index.numel():
        raise IndexError("put_(): Tried to put elements into an empty tensor")
    name = "pick_add" if accumulate else "pick_put"
    x, place = flatten(input), flatten(index)
    if accumulate and input.dtype is dt.bool_:
        return put(input.to(dt.u8), index, source.to(dt.u8), True) != 0  # type: ignore[no-any-return]
    return reshape(op(name, x, place, flatten(source), dims=(0,), front=0), tuple(input.shape))


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with values written, or added, at positions: one index tensor or mask a dimension."""
    return indexing.index_put_(copied(input), indices, values, accumulate)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with a number where the mask holds; both are broadcast."""
    if mask.dtype is not dt.bool_:
        name = _SCALAR_NAMES.get(mask.dtype, mask.dtype.name)
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {name}")
    if not isinstance(value, Tensor):
        return where(mask, number_of("value", value, input), input)  # type: ignore[no-any-return]
    return where(mask, _scalar("masked_fill_", value, input), input)  # type: ignore[no-any-return]


_SCALAR_NAMES = {
    dt.i64: "long int", dt.i32: "int", dt.i16: "short int", dt.i8: "signed char", dt.u8: "unsigned char",
    dt.f32: "float", dt.f64: "double",
}  # fmt: skip


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the first elements of source where the mask holds, in order; input and mask are broadcast."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got{type_name(input.dtype)} and "
            f"{type_name(source.dtype)}"
        )
    if mask.dtype is not dt.bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {type_name(mask.dtype)}"
        )
    shape = broadcast([tuple(input.shape), tuple(mask.shape)])
    wide = flatten(expand(mask, shape))
    order = wide.to(dt.i64).cumsum(0)
    if int(wide.sum()) > source.numel():
        raise RuntimeError("Number of elements of source < number of ones in mask")
    x = flatten(expand(input, shape))
    if source.numel() == 0:
        return reshape(copied(x), shape)
    taken = op("take", flatten(source), (order - 1).clamp(min=0), dim=0)
    return reshape(where(wide, taken, x), shape)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like input full of a number; the gradient of a tensor `value` is summed, that of input is zero."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
    return where(input.new_ones((), dtype=dt.bool_), _scalar("fill_", value, input), input)  # type: ignore[no-any-return]
