"""`tdsl check`: warnings, and texts of any kind: always a diagnostic, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tdsl.cli import check_file, main
from tdsl.compiler.source import TdslError
from tdsl.lang import ast
from tdsl.lang.check import check
from tdsl.lang.parse import parse_source

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.tdsl"))


def found(text: str) -> list[tuple[str, int, int]]:
    """Code, line and column of what `check` says of a text."""
    source = ast.Source("f.tdsl", text)
    faults = check(parse_source(source), source, warnings=True)
    return [(f.code, f.span.line, f.span.column) for f in faults if f.span is not None]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("softmax = 1\n", [("W0101", 1, 1)]),
        ("def f(mean):\n    return mean\n", [("W0101", 1, 7)]),
        ("i = 1\ny[i in 0:3] := i\nprint(y, i)\n", [("W0102", 2, 3)]),
        ("def f(x: f32[N], n: int):\n    return sum[n] x[n]\n", [("W0102", 2, 16)]),
        ("def f(x):\n    y = x + 1\n    return x\n", [("W0103", 2, 5)]),
        ("def f(x):\n    y[i] := x[i]\n    _z = 1\n    for k in range(2):\n        pass\n", [("W0103", 2, 5)]),
        ("def f(x: f32[...]) -> f32[...]:\n    return x\n", [("W0104", 1, 10), ("W0104", 1, 23)]),
        ("x = ones(3)\ny[i] := x[i else 0.0]\nz[i in 0:4] := x[i else 0.0]\n", [("W0105", 2, 9)]),
        ("def f():\n    print(a)\n    a = 1\n    return a\n", [("E0202", 2, 11)]),
        ("def f(n):\n    while n:\n        if n > 1:\n            print(a)\n        a = 1\n", []),
        ("def f(c):\n    if c:\n        a = 1\n    else:\n        return a\n    return a\n", [("E0202", 5, 16)]),
        ("def f():\n    g = lambda: a\n    a = 1\n    return g\n", []),
        ("def f():\n    return [a for a in range(3)], a\n    a = 1\n", [("E0202", 2, 35)]),
        ("def f():\n    a += 1\n    return a\n", [("E0202", 2, 5)]),
    ],
)
def test_found(text: str, want: list[tuple[str, int, int]]) -> None:
    assert found(text) == want


def test_a_warning_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.tdsl"
    path.write_text("norm = 1\n", encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out.startswith("warning[W0101]: `norm` hides the built-in of that name\n")


# ------------------------------------------------------------------------------------ texts of any kind


def survives(text: str) -> None:
    """Parse and check end in a tree or in a diagnostic that can be shown."""
    source = ast.Source("f.tdsl", text)
    try:
        for fault in check(parse_source(source), source, warnings=True):
            assert fault.render()
    except TdslError as error:
        assert error.render()


def mutated(text: str, draw: random.Random) -> str:
    kind = draw.randrange(7)
    at, to = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    to = min(to, at + 40)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + text[to:]
    if kind == 2:
        return text[:at] + draw.choice("()[]{}:=\"'\\\n\t #,.*@0x~|") + text[at:]
    if kind == 3:
        return text[:at] + text[at:to] * 3 + text[to:]
    if kind == 4:
        lines = text.split("\n")
        draw.shuffle(lines)
        return "\n".join(lines)
    if kind == 5:
        return text[:at] + draw.choice(("\0", "\u00e9", "\u2028", "\r", "\f", "\ufeff", "1" * 50, "else ")) + text[at:]
    words = text.split(" ")
    a, b = draw.randrange(len(words)), draw.randrange(len(words))
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_mutations(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    draw = random.Random(path.stem)
    for _ in range(40):
        survives(mutated(text, draw))


@pytest.mark.slow
@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_many_mutations(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    draw = random.Random(f"{path.stem} again")
    for _ in range(400):
        survives(mutated(mutated(text, draw) or "\n", draw))


DEEP = 3000
ODD = {
    "parentheses": "x = " + "(" * DEEP + "1" + ")" * DEEP,
    "brackets": "x = " + "[" * DEEP + "]" * DEEP,
    "unary": "x = " + "-" * DEEP + "1",
    "not": "x = " + "not " * DEEP + "True",
    "long sum": "x = " + " + ".join(["1"] * DEEP),
    "long power": "x = " + " ** ".join(["1"] * DEEP),
    "calls": "x = " + "abs(" * DEEP + "1" + ")" * DEEP,
    "attributes": "x = a" + ".b" * DEEP,
    "conditions": "x = " + "1 if a else " * DEEP + "2",
    "blocks": "".join("    " * k + "if True:\n" for k in range(150)) + "    " * 150 + "pass\n",
    "loops": "".join("    " * k + f"for i{k} in range(2):\n" for k in range(30)) + "    " * 30 + "pass\n",
    "reductions": "x = " + "".join(f"sum[i{k} in 0:2] " for k in range(DEEP)) + "1",
    "a huge integer": "x = " + "9" * 10_000,
    "a huge exponent": "x = 1e999999",
    "a NUL byte": "x = 1\0\n",
    "a byte order mark": "\ufeffx = 1\n",
    "carriage returns": "x = 1\r\nif x:\r\n    y = 2\r\n",
    "a bare carriage return": "x = 1\ry = 2\n",
    "tabs": "if True:\n\tx = 1\n",
    "mixed indentation": "if True:\n    x = 1\n\ty = 2\n",
    "a form feed": "x = 1\f\n",
    "nothing": "",
    "no newline": "x = 1",
    "a backslash at the end": "x = 1 + \\",
    "an open string": 'x = "abc',
    "an open long string": 'x = """abc\n',
    "an open f-string": 'x = f"{a',
    "an f-string in an f-string": "x = f\"{f'{1}'}\"",
    "a deep f-string": 'x = f"{' + "(" * 500 + "1" + ")" * 500 + '}"',
    "an empty hole": 'x = f"{}"',
    "letters of other scripts": "\u03c0 = 3.14\nprint(\u03c0)\n",
    "a lone surrogate": "x = '\ud800'\n",
    "many lines": "x = 1\n" * 3000,
    "many names": "\n".join(f"x{k} = {k}" for k in range(2000)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts(name: str) -> None:
    survives(ODD[name])


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.tdsl"
    path.write_bytes(b"x = '\xff\xfe'\n")
    faults = check_file(str(path))
    assert [f.code for f in faults] == ["E0100"] and "UTF-8" in faults[0].message
    assert main(["run", str(path)]) == 1
    assert "UTF-8" in capsys.readouterr().err
