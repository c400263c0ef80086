"""Equal computations are one value."""

from typing import Any

from tdsl.compiler.graph import Graph, Value
from tdsl.compiler.passes.rebuild import rebuild


def cse(graph: Graph) -> Graph:
    """Nodes with the same op, attrs and args become one. Numbers stay apart: they may differ in the next run."""
    known: dict[Any, Value] = {}

    def change(node: Value) -> Value:
        return known.setdefault((node.op, node.type, *node.args, *node.attrs.items()), node)

    return rebuild(graph, change)
