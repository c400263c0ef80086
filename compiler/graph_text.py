"""Graph IR as text: `show` and `parse` are each other's inverse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tdsl.compiler import kernel_parse, kernel_text
from tdsl.compiler.dtype import DType, by_name
from tdsl.compiler.graph import OPS, Graph, Size, Sym, Type, Value, apply, input_value, number
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.source import IRError, Span, TdslError


def show(graph: Graph) -> str:
    """One line a value, args first; kernels of `index` ops stand below by name."""
    name = {v: f"%{i}" for i, v in enumerate([*graph.inputs, *graph.nodes()])}
    kernels: dict[Kernel, str] = {}
    lines: list[str] = []
    for v in graph.inputs:
        kind = f"number {v.data!r}" if v.is_number else "input"
        lines.append(f"{name[v]}: {v.type} = {kind}")
    for v in graph.nodes():
        assert v.op is not None
        attrs = "".join(f" {k}={_attr(x, kernels)}" for k, x in v.attrs.items())
        args = ", ".join(name[a] for a in v.args)
        lines.append(f"{name[v]}: {v.type} = {v.op.name}{' ' * bool(args)}{args}{attrs}")
    lines.append(f"return {', '.join(name[v] for v in graph.outputs)}")
    for kernel, label in kernels.items():
        text = kernel_text.show(Kernel(label[1:], kernel.params, kernel.body, kernel.outputs))
        lines.append(text.rstrip())
    return "\n".join(lines) + "\n"


def _attr(x: Any, kernels: dict[Kernel, str]) -> str:
    if isinstance(x, Kernel):
        return kernels.setdefault(x, f"@k{len(kernels)}")
    if isinstance(x, tuple):
        return "[" + ", ".join(str(n) for n in x) + "]"
    if isinstance(x, DType):
        return x.name
    return repr(x)


_LINE = re.compile(r"(%\w+): (\w+)\[([^\]]*)\] = (\w+)(.*)$")
_ATTR = re.compile(r"(\w+)=(\[[^\]]*\]|\S+)")


def parse(text: str, file: str = "<ir>") -> Graph:
    """Read a graph; raises IRError at the place."""
    head, kernels = _kernels(text, file)
    names: dict[str, Value] = {}
    inputs: list[Value] = []
    outputs: list[Value] = []
    for at, line in enumerate(head, 1):
        line = line.split(";")[0].rstrip()
        if not line:
            continue
        span = Span(file, at, 1, len(line) + 1, line)
        if line.startswith("return"):
            outputs = [_known(names, n.strip(), span) for n in line[6:].split(",") if n.strip()]
            continue
        match = _LINE.match(line)
        if match is None:
            raise IRError("not a node: want `%name: dtype[shape] = op %arg, ... key=value`", span)
        name, dtype, dims, op, rest = match.groups()
        type_ = Type(_dtype(dtype, span), tuple(_size(d.strip()) for d in dims.split(",") if d.strip()))
        if op == "input":
            names[name] = input_value(type_)
            inputs.append(names[name])
            continue
        if op == "number":
            names[name] = number(_value(rest.strip(), kernels, span), type_.dtype)
            inputs.append(names[name])
            continue
        names[name] = _node(op, rest, names, kernels, type_, span)
    symbols = dict.fromkeys(n for v in inputs for n in v.shape if isinstance(n, Sym))
    return Graph(inputs, outputs, tuple(symbols))


def _kernels(text: str, file: str) -> tuple[list[str], dict[str, Kernel]]:
    lines = text.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("kernel ")]
    found: dict[str, Kernel] = {}
    for k, start in enumerate(starts):
        end = starts[k + 1] if k + 1 < len(starts) else len(lines)
        kernel = kernel_parse.parse("\n".join(lines[start:end]), file)
        found["@" + kernel.name] = kernel_text.intern(kernel)
    return lines[: starts[0]] if starts else lines, found


def _known(names: dict[str, Value], name: str, span: Span) -> Value:
    if name not in names:
        raise IRError(f"{name} is used before it is defined", span)
    return names[name]


def _dtype(name: str, span: Span) -> DType:
    try:
        return by_name(name)
    except KeyError:
        raise IRError(f"no dtype named {name!r}", span) from None


def _size(text: str) -> Size:
    return int(text) if text.lstrip("-").isdigit() else Sym(text)


def _node(op: str, rest: str, names: dict[str, Value], kernels: dict[str, Kernel], type_: Type, span: Span) -> Value:
    if op not in OPS:
        raise IRError(f"no op named {op!r}", span)
    args = [_known(names, n, span) for n in re.findall(r"%\w+", rest)]
    attrs = {k: _value(v, kernels, span) for k, v in _ATTR.findall(rest)}
    try:
        value = apply(op, *args, span=span, **attrs)
    except TdslError as error:
        raise IRError(f"{op}: {error.message}", span) from None
    except KeyError as error:
        raise IRError(f"{op}: the attr {error} is missing", span) from None
    if value.type is not type_:
        raise IRError(f"{op}: written as {type_}, its rule says {value.type}", span)
    return value


def _value(text: str, kernels: dict[str, Kernel], span: Span) -> Any:
    if text.startswith("["):
        return tuple(_items(text[1:-1]))
    if text.startswith("@"):
        if text not in kernels:
            raise IRError(f"no kernel {text}", span)
        return kernels[text]
    if text in ("True", "False"):
        return text == "True"
    try:
        return by_name(text)
    except KeyError:
        pass
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return Sym(text)


def _items(text: str) -> Iterator[Size]:
    return (_size(t.strip()) for t in text.split(",") if t.strip())
