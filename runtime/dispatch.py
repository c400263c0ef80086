"""Demanded values to bytes: find the program of a recorded graph, or have it compiled, and run it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tdsl.compiler.graph import Value
from tdsl.runtime.buffer import Buffer
from tdsl.runtime.interpreter import interpret


def realize(values: Sequence[Value]) -> None:
    """Give every value its bytes: sets `value.data`."""
    wanted = [v for v in values if v.data is None]
    for value, array in zip(wanted, interpret(wanted), strict=True):
        value.data = Buffer(np.array(array).reshape(-1))
