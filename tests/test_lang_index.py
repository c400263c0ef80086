"""Index statements → kernels, from shapes and dtypes alone."""

from dataclasses import dataclass
from typing import Any

import pytest

from tdsl.compiler import kernel, kernel_text
from tdsl.compiler.dtype import DType, f32, f64, i64
from tdsl.compiler.source import IndexNotationError
from tdsl.lang import ast
from tdsl.lang.index_site import analyze
from tdsl.lang.parse import parse_source


@dataclass
class Shaped:
    """Stands for a tensor: the kernel needs no more than this."""

    shape: tuple[int, ...]
    dtype: DType = f32

    def dim(self) -> int:
        return len(self.shape)


def line(text: str, **values: Any) -> str:
    source = ast.Source("k", text)
    site = analyze(parse_source(source).body[0], source)
    slots = tuple(values[source.text[s.at[0] : s.at[1]]] for s in site.slots)
    built = site.built(slots).kernel
    kernel.verify(built)
    return kernel_text.show(built).split("\n")[1].strip()


def test_a_product() -> None:
    shown = line("C[i, j] := sum[k] A[i, k] * B[k, j]", A=Shaped((3, 4)), B=Shaped((4, 5)))
    assert shown == "y[i, j] := sum[k] a0[i, k] * a1[k, j]"


def test_gather() -> None:
    shown = line("e[b, t, d] := table[ids[b, t], d]", table=Shaped((7, 3)), ids=Shaped((2, 4), i64))
    assert shown == "y[b, t, d] := a0[a1[b, t], d]"


def test_promotion() -> None:
    assert line("y[i] := x[i] * 2 + i", x=Shaped((4,))) == "y[i] := a0[i] * 2.0 + i.to(f32)"
    assert line("y[i] := x[i] * s", x=Shaped((4,)), s=Shaped((), f64)) == "y[i] := a0[i] * a1.to(f32)"
    assert line("y[i] := n[i] / 2", n=Shaped((4,), i64)) == "y[i] := a0[i].to(f32) / 2.0"


def test_the_same_name_in_two_reductions() -> None:
    shown = line("y[i] := sum[j] x[i, j] + max[j] x[i, j]", x=Shaped((4, 4)))
    assert "sum[j] a0[i, j]" in shown and "max[j_2] a0[i, j_2]" in shown


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("C[i, j] := sum[k] A[i, k] * A[k, j]", "E0410"),
        ("y[i] := sum[k] v[i + k]", "E0411"),
        ("y[i] := v[i - 1]", "E0413"),
        ("y[i] := A[i]", "E0407"),
        ("y[i] := v[i] + A", "E0405"),
        ("y[i] := A[v[i], i]", "E0408"),
        ("y[i] := softmax(v[i])", "E0406"),
        ("y[i] := sum[i] v[i]", "E0417"),
    ],
)
def test_refused(text: str, code: str) -> None:
    with pytest.raises(IndexNotationError) as error:
        line(text, A=Shaped((3, 4)), v=Shaped((5,)))
    assert error.value.code == code and error.value.span is not None
