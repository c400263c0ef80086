"""Linear maps and attention as functions."""

from __future__ import annotations

from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError, ShapeError
from tdsl.elementwise import where
from tdsl.halves import rounded_once
from tdsl.nn import fused
from tdsl.nn.activations import dropout
from tdsl.products import matmul
from tdsl.recording import record
from tdsl.reductions import softmax as _softmax
from tdsl.shapes import permute
from tdsl.tensor import Tensor

__all__ = ["bilinear", "linear", "scaled_dot_product_attention"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + b over the last dimension."""
    one = fused.linear(input, weight, bias)
    if one is not None:
        return one
    if input.shape[-1:] != weight.shape[-1:]:
        rows = input.numel() // max(1, input.shape[-1]) if input.ndim else 1
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1] if input.ndim else 1} and "
            f"{weight.shape[1]}x{weight.shape[0]})",
            notes=[f"linear: the input is {input.dtype.name}{list(input.shape)}, but the weight {weight.dtype.name}"
                   f"{list(weight.shape)} takes {weight.shape[-1]} features"],
        )  # fmt: skip
    y = matmul(input, permute(weight, 1, 0) if weight.ndim == 2 else weight)
    return y if bias is None else y + bias  # type: ignore[no-any-return]


@rounded_once
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[o] = x1^T weight[o] x2 + bias[o]."""
    if tuple(input1.shape[:-1]) != tuple(input2.shape[:-1]):
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    for k, x in ((1, input1), (2, input2)):
        if x.shape[-1] != weight.shape[k]:
            raise RuntimeError(
                f"bilinear(): input{k} size does not match weight size: got {x.shape[-1]} but expected "
                f"{weight.shape[k]}"
            )
    rows = input1.reshape(-1, input1.shape[-1]) if input1.numel() else input1.reshape(0, input1.shape[-1])
    other = input2.reshape(-1, input2.shape[-1]) if input2.numel() else input2.reshape(0, input2.shape[-1])
    o, p, q = weight.shape
    left = matmul(rows, permute(weight, 1, 0, 2).reshape(p, o * q)).reshape(-1, o, q)
    y = (left * other.unsqueeze(1)).sum(-1)
    y = y if bias is None else y + bias
    return y.reshape(*input1.shape[:-1], o)


def _iota(n: int) -> Any:
    return record("iota", length=n)


@rounded_once
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(q k^T / sqrt(d)) v; a bool mask keeps what is True; a row with nothing kept is 0."""
    scale = 1 / query.shape[-1] ** 0.5 if scale is None else scale
    scores = matmul(query, key.transpose(-2, -1)) * scale
    if is_causal:
        rows, columns = Tensor(_iota(query.shape[-2])), Tensor(_iota(key.shape[-2]))
        attn_mask = rows.unsqueeze(1) >= columns.unsqueeze(0)
    if attn_mask is None:
        return matmul(dropout(_softmax(scores, -1), dropout_p), value)
    if attn_mask.dtype is not dt.bool_:
        return matmul(dropout(_softmax(scores + attn_mask, -1), dropout_p), value)
    masked = where(attn_mask, scores, float("-inf"))
    some = attn_mask.any(-1, True)
    weights = where(some, _softmax(where(some, masked, 0.0), -1), 0.0)
    return matmul(dropout(weights, dropout_p), value)
