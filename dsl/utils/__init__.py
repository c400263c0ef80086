"""Helpers: `tdsl.utils.data`."""

from tdsl.utils import data

__all__ = ["data"]
