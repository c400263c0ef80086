"""A position outside a tensor, found while a kernel ran (E0502), in the words of the script that wrote the read."""

from __future__ import annotations

from tdsl.compiler.evaluate import OutsideError
from tdsl.compiler.source import Label
from tdsl.lang import ast
from tdsl.lang.index_site import BUILT, Built, Site


def in_words(error: OutsideError) -> None:
    """Name the tensor and mark the read, where the script's statement is known."""
    found = _statement(error)
    if found is None:
        return
    site, built = found
    base = _base(site, built, error.tensor)
    if base is None:
        return
    source = site.source
    reads = [n for n in ast.walk(site.node) if isinstance(n, ast.Subscript) and _text(source, n.base) == base]
    reads = [n for n in reads if len(n.items) == len(error.shape) and n.fill is None]
    # a subscript that is more than an index is the likelier one
    reads.sort(key=lambda n: all(isinstance(item, (ast.Name, ast.Constant)) for item in n.items))
    if not reads:
        return
    read = reads[0]
    verb = "writes" if error.tensor == "y" else "reads"
    error.message = f"`{_text(source, read)}` {verb} position {error.position} outside `{base}`, which is "
    error.message += str(list(error.shape))
    error.labels = (Label(source.span(read.at), ""),)


def _statement(error: OutsideError) -> tuple[Site, Built] | None:
    span = error.span
    if error.kernel is None or span is None:
        return None
    for site, built in BUILT.get(error.kernel, ()):
        if site.source.file == span.file and site.source.place(site.node.at[0]) == (span.line, span.column):
            return site, built
    return None


def _base(site: Site, built: Built, tensor: str) -> str | None:
    """What the script calls a tensor of the kernel."""
    if tensor == "y":
        return site.name or None
    number = tensor.removeprefix("a")
    if not number.isdigit() or int(number) >= len(built.tensors):
        return None
    return _text(site.source, site.slots[built.tensors[int(number)]])


def _text(source: ast.Source, n: ast.Node) -> str:
    return source.text[n.at[0] : n.at[1]]
