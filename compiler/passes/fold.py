"""What depends on constants alone is a constant."""

from tdsl.compiler.evaluate import convert
from tdsl.compiler.graph import Graph, Value, apply
from tdsl.compiler.kernel import FUNCTIONS
from tdsl.compiler.passes.rebuild import rebuild


def fold(graph: Graph) -> Graph:
    """Elementwise functions of 0-d constants are computed now, by the function's own meaning."""
    return rebuild(graph, _fold)


def _fold(node: Value) -> Value:
    op = node.op
    if op is None or op.elementwise is None or not node.args or node.shape:
        return node
    if not all(a.op is not None and a.op.name == "constant" for a in node.args):
        return node
    if node.dtype.is_half or any(a.dtype.is_half for a in node.args):
        return node  # rounded where it is made
    if op.name in ("floordiv", "mod", "fmod") and not node.dtype.is_float:
        return node  # may fail: left to the kernel, which reports it
    args = [a.dtype.numpy.type(a.attrs["value"]) for a in node.args]
    result = convert(args[0], node.dtype.numpy) if op.name == "cast" else FUNCTIONS[op.elementwise].evaluate(*args)
    return apply("constant", value=node.dtype.numpy.type(result).item(), dtype=node.dtype)
