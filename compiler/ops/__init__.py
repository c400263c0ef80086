"""Every op, one family to a file. Importing this fills `graph.OPS`."""

from tdsl.compiler.ops import (
    block,
    contraction,
    elementwise,
    indexing,
    joining,
    library,
    placing,
    reduce,
    scan,
    sorting,
    special,
    view,
)

__all__ = [
    "block",
    "contraction",
    "elementwise",
    "indexing",
    "joining",
    "library",
    "placing",
    "reduce",
    "scan",
    "sorting",
    "special",
    "view",
]
