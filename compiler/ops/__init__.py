"""Every op, one family to a file. Importing this fills `graph.OPS`."""

from tdsl.compiler.ops import (
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
