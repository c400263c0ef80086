"""Questions about GPUs: there are none here."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def is_initialized() -> bool:
    return False


def manual_seed(seed: int) -> None:
    """No GPU has a stream of numbers to seed."""


def manual_seed_all(seed: int) -> None:
    """No GPU has a stream of numbers to seed."""


def synchronize(device: Any = None) -> None:
    """Nothing runs elsewhere."""


def empty_cache() -> None:
    """No memory is held elsewhere."""
