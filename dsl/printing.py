"""Tensors as text, as PyTorch prints them: four digits, scientific when magnitudes differ much, long ones short."""

from __future__ import annotations

from typing import Any

import numpy as np

PRECISION, THRESHOLD, EDGE, WIDTH = 4, 1000, 3, 80


class _Format:
    """How the elements of one tensor are written: as wide as the widest."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.kind = values.dtype.kind
        self.whole = self.scientific = False
        self.width = 1
        if self.kind != "f":
            self.width = max((len(self._plain(v)) for v in values.ravel()), default=1)
            return
        finite = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if finite.size:
            size = np.abs(finite)
            low, high = float(size.min()), float(size.max())
            self.whole = bool(np.all(finite == np.ceil(finite)))
            if self.whole:
                self.scientific = high / low > 1000.0 or high > 1e8
            else:
                self.scientific = high / low > 1000.0 or high > 1e8 or low < 1e-4
        elif values.size and bool(np.all(np.isfinite(values))):
            self.whole = True
        else:
            self.whole = True
        self.width = max((len(self._float(float(v))) for v in values.ravel()), default=1)

    def _plain(self, v: Any) -> str:
        return str(bool(v)) if self.kind == "b" else str(int(v))

    def _float(self, v: float) -> str:
        if not np.isfinite(v):
            return "nan" if np.isnan(v) else "inf" if v > 0 else "-inf"
        if self.scientific:
            return f"{v:.{PRECISION}e}"
        return f"{v:.0f}." if self.whole else f"{v:.{PRECISION}f}"

    def __call__(self, v: Any) -> str:
        text = self._float(float(v)) if self.kind == "f" else self._plain(v)
        return text.rjust(self.width)


def _row(values: np.ndarray[Any, Any], indent: int, fmt: _Format, summarize: bool) -> str:
    per_line = max(1, (WIDTH - indent) // (fmt.width + 2))
    items: list[str]
    if summarize and len(values) > 2 * EDGE:
        items = [*map(fmt, values[:EDGE]), " ...", *map(fmt, values[-EDGE:])]
    else:
        items = [fmt(v) for v in values]
    lines = [", ".join(items[k : k + per_line]) for k in range(0, len(items), per_line)] or [""]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(values: np.ndarray[Any, Any], indent: int, fmt: _Format, summarize: bool) -> str:
    if values.ndim == 0:
        return fmt(values[()])
    if values.ndim == 1:
        return _row(values, indent, fmt, summarize)
    if summarize and len(values) > 2 * EDGE:
        parts = [_block(v, indent + 1, fmt, summarize) for v in values[:EDGE]]
        parts.append("...")
        parts += [_block(v, indent + 1, fmt, summarize) for v in values[-EDGE:]]
    else:
        parts = [_block(v, indent + 1, fmt, summarize) for v in values]
    gap = ",\n" * 1 + "\n" * (values.ndim - 2) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _shown(values: np.ndarray[Any, Any], summarize: bool) -> np.ndarray[Any, Any]:
    """The elements that will be printed: they decide the width."""
    if not summarize:
        return values
    for axis, n in enumerate(values.shape):
        if n > 2 * EDGE:
            keep = np.r_[0:EDGE, n - EDGE : n]
            values = np.take(values, keep, axis=axis)
    return values


def tensor_text(values: np.ndarray[Any, Any], suffixes: list[str], prefix: str = "tensor(") -> str:
    """tensor([...], dtype=...), broken into lines as PyTorch does."""
    indent = len(prefix)
    if values.size == 0:
        body = "[]"
        if values.ndim != 1:
            suffixes = [f"size={tuple(values.shape)}", *suffixes]
    else:
        summarize = values.size > THRESHOLD
        body = _block(values, indent, _Format(_shown(values, summarize)), summarize)
    text = prefix + body
    last = len(text) - text.rfind("\n") - 1 if "\n" in text else len(text)
    for suffix in suffixes:
        if last + len(suffix) + 2 > WIDTH:
            text += ",\n" + " " * indent + suffix
            last = indent + len(suffix)
        else:
            text += ", " + suffix
            last += len(suffix) + 2
    return text + ")"
