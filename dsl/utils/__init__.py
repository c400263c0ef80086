"""Helpers: `tdsl.utils.data`, `tdsl.utils.checkpoint`."""

from tdsl.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
