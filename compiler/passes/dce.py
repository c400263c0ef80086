"""Drop what no output needs."""

from tdsl.compiler.graph import Graph


def dce(graph: Graph) -> Graph:
    """Inputs stay, nodes are those the outputs reach: a Graph holds no others by construction.

    What is left to do is to list an output's input only once where passes made two inputs one.
    """
    return Graph(list(dict.fromkeys(graph.inputs)), graph.outputs, graph.sizes)
