"""Attention by several heads as one function."""

from __future__ import annotations

from typing import Any

from tdsl.broadcasting import broadcast_to
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import where
from tdsl.nn.activations import dropout, softmax
from tdsl.nn.linear import linear
from tdsl.nn.resizing import pad
from tdsl.products import bmm
from tdsl.shapes import cat
from tdsl.tensor import Tensor

__all__ = ["multi_head_attention_forward"]


def _additive(mask: Tensor | None, name: str, dtype: Any) -> Tensor | None:
    """A mask as numbers to add: -inf where a bool one excludes."""
    if mask is None or mask.dtype.is_float:
        return mask
    if mask.dtype is not dt.bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return where(mask, float("-inf"), 0.0).to(dtype)  # type: ignore[no-any-return]


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weights: list[Tensor], biases: list[Tensor | None]
) -> list[Tensor]:
    return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
    key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention of (L, N, E) or (L, E) by several heads: (output, weights or None)."""
    lone = query.ndim == 2
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"For {'unbatched (2-D)' if lone else 'batched (3-D)'} `query`, expected `key` and `value` to be "
            f"{query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors respectively"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if lone:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    target, batch, embed = query.shape
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    head = embed // num_heads
    if head * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        assert q_proj_weight is not None and k_proj_weight is not None and v_proj_weight is not None
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        assert in_proj_weight is not None
        weights = list(in_proj_weight.chunk(3))
    biases: list[Tensor | None] = [None] * 3 if in_proj_bias is None else list(in_proj_bias.chunk(3))
    q, k, v = _projected(query, key, value, weights, biases)
    mask, padding = _additive(attn_mask, "attn_mask", q.dtype), _additive(key_padding_mask, "key_padding_mask", q.dtype)
    mask = _mask_shape(mask, target, key.shape[0], batch * num_heads)
    if bias_k is not None and bias_v is not None:
        k, v = _longer(k, bias_k), _longer(v, bias_v)
        mask, padding = _wider(mask), _wider(padding)
    q = q.reshape(target, batch * num_heads, head).transpose(0, 1)
    k = _heads(k, batch, num_heads, head) if static_k is None else static_k
    v = _heads(v, batch, num_heads, head) if static_v is None else static_v
    if add_zero_attn:
        k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
        mask, padding = _wider(mask), _wider(padding)
    source = k.shape[1]
    if padding is not None:
        if tuple(padding.shape) != (batch, source):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, source)}, but got {tuple(padding.shape)}"
            )
        wide = broadcast_to(padding.reshape(batch, 1, 1, source), (batch, num_heads, 1, source))
        wide = wide.reshape(batch * num_heads, 1, source)
        mask = wide if mask is None else mask + wide
    scores = bmm(q * (1.0 / head**0.5), k.transpose(1, 2))
    attention = softmax(scores if mask is None else scores + mask, -1)
    attention = dropout(attention, dropout_p, training) if training and dropout_p > 0 else attention
    mixed = bmm(attention, v).transpose(0, 1).reshape(target, batch, embed)
    output = linear(mixed, out_proj_weight, out_proj_bias)
    output = output.squeeze(1) if lone else output
    if not need_weights:
        return output, None
    shown = attention.reshape(batch, num_heads, target, source)
    shown = shown.mean(1) if average_attn_weights else shown
    return output, shown.squeeze(0) if lone else shown


def _mask_shape(mask: Tensor | None, target: int, source: int, heads: int) -> Tensor | None:
    if mask is None:
        return None
    want = (target, source) if mask.ndim == 2 else (heads, target, source)
    if mask.ndim not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.ndim} is not supported")
    if tuple(mask.shape) != want:
        raise RuntimeError(f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should be {want}.")
    return mask.unsqueeze(0) if mask.ndim == 2 else mask


def _heads(x: Tensor, batch: int, heads: int, size: int) -> Tensor:
    return x.reshape(x.shape[0], batch * heads, size).transpose(0, 1)  # type: ignore[no-any-return]


def _longer(x: Tensor, bias: Tensor) -> Tensor:
    row = broadcast_to(bias, (1, x.shape[1], x.shape[2]))
    return cat([x, row])


def _wider(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else pad(mask, (0, 1))
