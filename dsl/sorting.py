"""Order under PyTorch's names: positions are recorded, and values gathered at them, so that gradients flow."""

from __future__ import annotations

from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, NotImplementedError, RuntimeError, TypeError
from tdsl.elementwise import category_dtype
from tdsl.recording import record
from tdsl.reductions import gathered, numpy_names, one_dim
from tdsl.return_types import return_type
from tdsl.tensor import Tensor, op, type_name

__all__ = [
    "argsort", "bucketize", "isin", "kthvalue", "median", "mode", "msort", "nanmedian", "searchsorted", "sort", "topk",
]  # fmt: skip

_SORT, _TOPK, _MEDIAN, _NANMEDIAN, _KTH, _MODE = (
    return_type(name, "values indices") for name in ("sort", "topk", "median", "nanmedian", "kthvalue", "mode")
)


def _zero_position() -> Tensor:
    return Tensor(record("constant", value=0, dtype=dt.i64))


def _comparable(x: Tensor) -> Tensor:
    """Bools are ordered as numbers."""
    return x.to(dt.u8) if x.dtype is dt.bool_ else x  # type: ignore[no-any-return]


def _places(name: str, x: Tensor, d: int, **attrs: Any) -> Tensor:
    return op(name, _comparable(x), dim=d, **attrs) if x.ndim else _zero_position()


@numpy_names
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices), ascending, equals in place, NaN last (first when descending).

    >>> from tdsl.creation import tensor
    >>> sort(tensor([3.0, 1.0, 2.0])).indices
    tensor([1, 2, 0])
    """
    d = one_dim("sort", dim, input.ndim)
    return _SORT(*gathered(input, _places("argsort", input, d, descending=bool(descending)), d, True))


@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The positions that sort along `dim`; equals stay in place."""
    return _places("argsort", input, one_dim("argsort", dim, input.ndim), descending=bool(descending))


def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension."""
    return ordered(input, 0) if input.ndim else input.clone()  # type: ignore[no-any-return]


def ordered(x: Tensor, d: int) -> Tensor:
    """The elements in order along d."""
    return op("sort", x, dim=d)


def _whole(name: str, k: Any) -> int:
    if not hasattr(k, "__index__"):
        raise TypeError(f"{name}(): argument 'k' must be int, not {type(k).__name__}")
    return int(k.__index__())


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest (or smallest) along `dim`, in order; NaN counts as the largest."""
    d, k = one_dim("topk", dim, input.ndim), _whole("topk", k)
    if input.dtype is dt.bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU", hint="convert first: x.int()")
    if not 0 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError("selected index k out of range")
    return _TOPK(*gathered(input, _places("topk", input, d, k=k, largest=bool(largest)), d, True))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the k-th smallest along `dim`, counted from 1."""
    d, k = one_dim("kthvalue", dim, input.ndim), _whole("kthvalue", k)
    if input.ndim and input.shape[d] == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    return _KTH(*gathered(input, _places("kth", input, d, k=k), d, keepdim))


def _median(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if input.dtype is dt.bool_:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(input.dtype)}'")
    ignore = name == "nanmedian"
    if dim is None:
        return op("median", input, ignore_nan=ignore)
    d = one_dim(name, dim, input.ndim)
    if input.ndim and input.shape[d] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    kind = _NANMEDIAN if ignore else _MEDIAN
    return kind(*gathered(input, _places("middle", input, d, ignore_nan=ignore), d, keepdim))


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle of all, the lower of two middles; along `dim`, (values, indices). A NaN wins."""
    return _median("median", input, dim, keepdim)


@numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of what is not NaN; along `dim`, (values, indices)."""
    return _median("nanmedian", input, dim, keepdim)


@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the commonest element along `dim`: the smallest of such values, where it stands last."""
    d = one_dim("mode", dim, input.ndim)
    if input.ndim and input.shape[d] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    return _MODE(*gathered(input, _places("mode", input, d), d, keepdim))


# ---- places in what is sorted


def _check_search(rows: Tensor, keys: Any, right: bool, side: str | None, sorter: Tensor | None) -> None:
    if side not in (None, "left", "right"):
        raise RuntimeError(f"tdsl.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "tdsl.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    if rows.ndim == 0:
        raise RuntimeError("tdsl.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension")
    shape = tuple(keys.shape) if isinstance(keys, Tensor) else ()
    if not shape and rows.ndim != 1:
        raise RuntimeError(
            "tdsl.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({rows.ndim}) and input value's dim(0) numel(1)"
        )
    if rows.ndim != 1 and (len(shape) != rows.ndim or shape[:-1] != tuple(rows.shape[:-1])):
        raise RuntimeError(
            "tdsl.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(rows.shape)} and input "
            f"value tensor {list(shape)}"
        )
    if sorter is not None:
        _check_sorter(rows, sorter)


def _check_sorter(rows: Tensor, sorter: Tensor) -> None:
    if sorter.shape != rows.shape:
        raise RuntimeError(
            "tdsl.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
            f"{list(rows.shape)}and got sorter tensor {list(sorter.shape)}"
        )
    if sorter.dtype is not dt.i64:
        raise RuntimeError(
            f"tdsl.searchsorted(): sorter must be a tensor of long dtype but got dtype {type_name(sorter.dtype)}"
        )
    if sorter.numel() and not 0 <= int(sorter.min()) <= int(sorter.max()) < sorter.shape[-1]:
        raise RuntimeError("tdsl.searchsorted(): sorter index out of range")


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each element of `input` would stand in the sorted last dimension: before equals, or after with `right`.

    `sorted_sequence` is one row for all, or has a row for each row of `input`; `sorter` sorts it.
    """
    _check_search(sorted_sequence, input, right, side, sorter)
    rows = sorted_sequence if sorter is None else op("gather", sorted_sequence, sorter, dim=sorter.ndim - 1)
    keys = input if isinstance(input, Tensor) else _number(input)
    if isinstance(input, Tensor) or keys.dtype.category > rows.dtype.category:
        wanted = dt.promote(rows.dtype, keys.dtype)
    else:
        wanted = rows.dtype
    places = op("searchsorted", rows.to(wanted), keys.to(wanted), right=bool(right or side == "right"))
    return places.to(dt.i32) if out_int32 else places  # type: ignore[no-any-return]


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Which part between sorted boundaries each element falls into."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among the test elements; a NaN never is."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin() takes a Tensor as elements or as test_elements, but got two numbers")
    x, among = (y if isinstance(y, Tensor) else _number(y) for y in (elements, test_elements))
    for y in (x, among):
        if y.dtype is dt.bool_:
            raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    wanted = dt.promote(x.dtype, among.dtype)
    found = op("isin", x.to(wanted), among.to(wanted))
    return ~found if invert else found


def _number(x: Any) -> Tensor:
    return Tensor(record("constant", value=x, dtype=category_dtype(x)))
