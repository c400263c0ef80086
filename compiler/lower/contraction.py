"""Sums of products as packed, register-tiled matrix products."""

from __future__ import annotations

from tdsl.compiler.loops import Module
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target


def micro_kernel(name: str, target: Target) -> Module:
    """The module of a micro-kernel, from its name."""
    raise InternalError(f"no micro-kernel named {name}")
