"""Building a graph anew from changed values: what every pass does."""

from __future__ import annotations

from collections.abc import Callable

from tdsl.compiler.graph import Graph, Value


def rebuild(graph: Graph, change: Callable[[Value], Value]) -> Graph:
    """Each node with its new args, then through `change`; recorded values are never altered.

    A node keeps its type, so sizes that only the recording knew stay as they were.
    """
    new: dict[Value, Value] = {v: v for v in graph.inputs}
    for node in graph.nodes():
        args = tuple(new[a] for a in node.args)
        if any(a is not b for a, b in zip(args, node.args, strict=True)):
            made = Value(node.op, args, node.signature, node.type, node.span)
            made.hint = node.hint
        else:
            made = node
        new[node] = change(made)
    return Graph(graph.inputs, [new[v] for v in graph.outputs], graph.sizes)
