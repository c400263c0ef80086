"""Rows of tables looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.autograd.modes import no_grad
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError, ValueError
from tdsl.elementwise import where
from tdsl.recording import record
from tdsl.tensor import Tensor, from_array, op, type_name

__all__ = ["embedding", "embedding_bag", "one_hot"]


def _iota(n: int) -> Tensor:
    return Tensor(record("iota", length=n))


@no_grad()
def _renormalized(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Rows that are looked up, scaled in place to a norm of at most max_norm."""
    used = from_array(np.unique(input.array()))
    rows = weight[used]
    norms = rows.norm(norm_type, 1, True)
    weight[used] = where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows)


class _Frequencies:
    """1 / how often each row is looked up, as the gradient's scale."""

    @staticmethod
    def of(input: Tensor, weight: Tensor) -> Tensor:
        counts = np.bincount(input.array().reshape(-1), minlength=weight.shape[0])
        return from_array(1.0 / np.maximum(counts, 1)).to(weight.dtype)  # type: ignore[no-any-return]


def _scaled_gradient(weight: Tensor, scale: Tensor) -> Tensor:
    """The same values; the gradient times `scale`."""
    return weight.detach() + (weight - weight.detach()) * scale


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """Rows of weight; the row `padding_idx` gets no gradient."""
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    if input.dtype not in (dt.i64, dt.i32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"tdsl.{type_name(input.dtype)}Tensor instead (while checking arguments for embedding)"
        )
    n = weight.shape[0]
    if padding_idx is not None:
        if not -n <= padding_idx < n:
            raise RuntimeError("Padding_idx must be within num_embeddings")
        padding_idx %= n
    if max_norm is not None:
        _renormalized(weight, input, max_norm, norm_type)
    if scale_grad_by_freq and weight.requires_grad:
        weight = _scaled_gradient(weight, _Frequencies.of(input, weight).unsqueeze(1))
    if padding_idx is not None:
        weight = where(ew.eq(_iota(n), padding_idx).unsqueeze(1), weight.detach(), weight)
    places = input if input.dtype is dt.i64 else input.to(dt.i64)
    _check(places, n)
    return op("take", weight, places, dim=0)


def _check(places: Tensor, n: int) -> None:
    if places.value.data is None or places.numel() == 0:
        return
    array = places.array()
    if array.min() < 0 or array.max() >= n:
        raise IndexError("index out of range in self")


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Sums, means or maxima of rows: of each row of a 2-D input, or of parts of a 1-D one that start at offsets."""
    if input.dtype in (dt.f32, dt.f64) and weight.dtype in (dt.i64, dt.i32):
        input, weight = weight, input
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and tuple(per_sample_weights.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it must "
            "have the "
            f"same shape as the input ({list(input.shape)})"
        )
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}'). Please open a feature request on GitHub."
        )
    starts = _starts(input, offsets, include_last_offset)
    flat = input.reshape(-1).to(dt.i64)
    n = weight.shape[0]
    if padding_idx is not None:
        if not -n <= padding_idx < n:
            raise AssertionError(f"padding_idx must be within the number of embeddings, but got {padding_idx}")
        padding_idx %= n
    if max_norm is not None:
        _renormalized(weight, input, max_norm, norm_type)
    if scale_grad_by_freq and weight.requires_grad:
        weight = _scaled_gradient(weight, _Frequencies.of(flat, weight).unsqueeze(1))
    numbers = flat.array()
    ends = np.append(starts[1:], len(numbers))
    keep = np.ones(len(numbers), bool) if padding_idx is None else numbers != padding_idx
    bag = np.searchsorted(starts, np.arange(len(numbers)), side="right") - 1
    counts = np.bincount(bag[keep], minlength=len(starts)) if len(numbers) else ends * 0
    chosen, bags = from_array(numbers[keep]), from_array(bag[keep])
    _check(chosen, n)
    rows = op("take", weight, chosen, dim=0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1)[from_array(keep)].unsqueeze(1)
    zeros = weight.new_zeros((len(starts), weight.shape[1]))
    if mode == "max":
        wide = bags.unsqueeze(1).expand(rows.shape)
        return (
            zeros.scatter_reduce(0, wide, rows, "amax", include_self=False)
            if len(numbers)
            else zeros + 0 * weight.sum()
        )
    total = zeros.index_add(0, bags, rows)
    if mode == "sum":
        return total  # type: ignore[no-any-return]
    return total / from_array(np.maximum(counts, 1)).to(weight.dtype).unsqueeze(1)  # type: ignore[no-any-return]


def _starts(input: Tensor, offsets: Tensor | None, last: bool) -> Any:
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        return np.arange(input.shape[0]) * input.shape[1]
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None or not isinstance(offsets, Tensor):
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    found = offsets.array().astype(np.int64)
    if len(found) and found[0] != 0:
        raise ValueError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, "
            f"got {found[0]}"
        )
    if len(found) and found[-1] > input.shape[0]:
        raise ValueError(
            f"offsets[-1] can not be greater than input's length({input.shape[0]}), but got offsets[-1] of {found[-1]}"
        )
    return found[:-1] if last else found


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class number, along a new last dimension."""
    if tensor.dtype is not dt.i64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return tensor.new_zeros((*tensor.shape, num_classes))
    array = tensor.array()
    if array.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    n = int(array.max()) + 1 if num_classes == -1 else num_classes
    if n < 1:
        raise RuntimeError("num_classes should be positive")
    if array.max() >= n:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == _iota(n)).to(dt.i64)  # type: ignore[no-any-return]
