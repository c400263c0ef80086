"""Sequences of several lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.creation import full
from tdsl.shapes import cat, stack
from tdsl.tensor import Tensor, from_array

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """The elements of all sequences step by step, longest first; `batch_sizes` says how many are alive at each step."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self._replace(data=self.data.to(*args, **kwargs))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each position went."""
    return None if permutation is None else from_array(np.argsort(permutation.array(), kind="stable"))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences (T, N, ...) without their padding."""
    sizes = np.asarray(lengths.array() if isinstance(lengths, Tensor) else lengths, np.int64)
    x = input.transpose(0, 1) if batch_first else input
    if sizes.ndim != 1 or len(sizes) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={x.shape[1]})"
        )
    if (sizes <= 0).any():
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    order = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement "
                "if you "
                "do not need ONNX exportability."
            )
    else:
        order = from_array(np.argsort(-sizes, kind="stable"))
        sizes = sizes[order.array()]
        x = x[:, order]
    alive = [int((sizes > t).sum()) for t in range(int(sizes[0]))]
    data = cat([x[t, :n] for t, n in enumerate(alive)], 0)
    return PackedSequence(data, from_array(np.array(alive)), order, invert_permutation(order))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(padded sequences, lengths)."""
    alive = sequence.batch_sizes.tolist()
    steps, batch = len(alive), alive[0]
    if total_length is not None and total_length < steps:
        raise ValueError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    data, rows, at = sequence.data, [], 0
    tail = tuple(data.shape[1:])
    for n in alive:
        row = data[at : at + n]
        fill = full((batch - n, *tail), padding_value, dtype=data.dtype)
        rows.append(cat([row, fill], 0) if n < batch else row)
        at += n
    rows += [full((batch, *tail), padding_value, dtype=data.dtype)] * ((total_length or steps) - steps)
    x = stack(rows, 0)
    lengths = np.array([sum(n > k for n in alive) for k in range(batch)])
    if sequence.unsorted_indices is not None:
        x = x[:, sequence.unsorted_indices]
        lengths = lengths[sequence.unsorted_indices.array()]
    return (x.transpose(0, 1) if batch_first else x), from_array(lengths)


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences of several lengths side by side, filled up."""
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if not len(sequences):
        raise RuntimeError("Expected a non-empty sequence of tensors")
    longest = max(x.shape[0] for x in sequences)
    rows = []
    for x in sequences:
        fill = full((longest - x.shape[0], *x.shape[1:]), padding_value, dtype=x.dtype)
        rows.append(cat([x, fill] if padding_side == "right" else [fill, x], 0) if x.shape[0] < longest else x)
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Padded sequences as a list of them without padding."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[k, :n] for k, n in enumerate(lengths.tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences of several lengths packed."""
    return pack_padded_sequence(pad_sequence(sequences), [x.shape[0] for x in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """A packed sequence as a list."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
