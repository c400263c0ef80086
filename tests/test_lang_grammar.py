"""What the grammar accepts, refuses, and how it groups."""

import pytest

from tdsl.compiler.source import TdslError
from tdsl.lang import ast, parse


def show(n: ast.Node | None) -> str:
    """An expression with all its parentheses."""
    if n is None:
        return "-"
    if isinstance(n, ast.Name):
        return n.id
    if isinstance(n, ast.Constant):
        return repr(n.value)
    word = type(n).__name__.lower()
    if isinstance(n, (ast.Binary, ast.Unary, ast.Bool, ast.Reduction)):
        word = n.op
    if isinstance(n, ast.Binder):
        word = n.name
    if isinstance(n, ast.Compare):
        word = " ".join(n.ops)
    kids = [show(c) for c in ast.children(n)]
    return f"({' '.join([word, *kids])})" if kids else word


GROUPS = {
    "sum[k] a[k] * b[k] + c": "(+ (sum k (* (subscript a k) (subscript b k))) c)",
    "2 * sum[k] a * b": "(* 2 (sum k (* a b)))",
    "-sum[k] a / b": "(- (sum k (/ a b)))",
    "a - max[k] b - c": "(- (- a (max k b)) c)",
    "sum[k] sum[j] a": "(sum k (sum j a))",
    "sum[k] a * sum[j] b * c": "(sum k (* a (sum j (* b c))))",
    "mean[i] (a - b) ** 2": "(mean i (** (- a b) 2))",
    "sum[k in 0:n + 1, j if j < k] a": "(sum (k 0 (+ n 1)) j (< j k) a)",
    "x[i + k - 1 else 0.0]": "(subscript x (- (+ i k) 1) 0.0)",
    "x[i if c else j else 0]": "(subscript x (cond i c j) 0)",
    "sum(x) + sum": "(+ (call sum x) sum)",
    "a if b else c if d else e": "(cond a b (cond c d e))",
    "0 <= i < n": "(<= < 0 i n)",
    "-x ** 2": "(- (** x 2))",
    "2 ** -x": "(** 2 (- x))",
    "any[i] x[i] > 0": "(> (any i (subscript x i)) 0)",
    "not a and b or c": "(or (and (not a) b) c)",
    "a & b == c": "(== (& a b) c)",
    "x is not None": "(is not x None)",
    "[i * i for i in xs if i]": "(comprehension (* i i) i xs i)",
}


@pytest.mark.parametrize("text", GROUPS)
def test_grouping(text: str) -> None:
    assert show(parse.parse_expression(text)) == GROUPS[text]


ACCEPTED = [
    "model = Net()\nmodel.train()\nmodel(x)\n",
    "param = 1\nparam += 1\nbuffer = param\nfunction = buffer\nstruct = 3\n",
    "model in xs\n",
    "sum = 3\nmax = sum\n",
    "x max= y\nx[i] min= 3\n",
    "y = scan(x)\nz = scatter(x, 0)\n",
    "if a: b = 1\nelif c: d = 2\nelse: e = 3\n",
    "def f(a, b: int = 2, c: f32[N, 3, N // 2, *S, ..., _] | None = None) -> (f32[N], list[f32[]]):\n    return a\n",
    "# c\n\n# d\nx = [1, # e\n  2,\n  # f\n]\n    # g\ny = 2 # h",
    "x = 1\r\nif x:\r\n    y = 2\r\n",
    "α = 1\nβ_2 = α\n",
    "if a:\n    x = 1\n\n    # note\n  # odd comment\n    y = 2\nz = 3\n",
    "f = lambda: 0\n",
    'x = f"a {b:.2f} {c!r}" "d"\n',
    '"""doc\nstring"""\nx = 1\n',
    "x, y = y, x\n",
    "for i, (a, b) in enumerate(zip(p, q)):\n    pass\n",
    "with no_grad(), seed(3) as s:\n    pass\n",
    "import python.numpy as np\nfrom a.b import (c, d as e,)\n",
    "scan[t]: h[t] := h[t - 1 else 0] + x[t]\n",
    "scan[t in 1:T]:\n    h[t] := x[t]\n    g[t] := h[t]\n",
    "scatter[n if m[n]]: H[y[n], 0] += w[n]\n",
    "y[n, _, i in 0:H, j in a + 1:W - 1] := 0.0\n",
    "y[i] := (\n    a[i]\n    + b[i]\n)\n",
    "x = a \\\n  + b\n",
    "model A:\n    param w = zeros(3)\n    def forward(self, x): return x\n",
    "x: int = 3\ny: f32[2]\n",
    'd = {"a": 1, "b": [2, 3],}\ne = {}\nt = ()\n',
    "",
    "\n\n",
    "# only a comment",
    "if all[i] (a[i] == b[i]): pass\n",
    "x = (yield_ if 1 else 2)\n",
    "x[0][1:2].y(3).z[i, j] = 4\n",
]
REFUSED = [
    "class A:\n    pass\n",
    "x = 1; y = 2\n",
    "def f(*a):\n    pass\n",
    "def f(**k):\n    pass\n",
    "try:\n    x\n",
    "x++\n",
    "global x\n",
    'print "a"\n',
    "if x = 1: pass\n",
    "sum [k] x\n",
    "x := y := z\n",
    "a = b = c\n",
    "in = 3\n",
    "for = 2\n",
    "@dec\ndef f(): pass\n",
    "x = {1, 2}\n",
    "async def f(): pass\n",
    "def f(x):\nreturn x\n",
    "from x import *\n",
    "x[i else]\n",
    "sum[] x\n",
    "sum[k in n] x\n",
    "y = sum[k] a + * b\n",
    "match x:\n    pass\n",
    "del x\n",
    "lambda x=1: x\n",
    "while x: y = 1 else: z\n",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    parse.parse(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(TdslError) as error:
        parse.parse(text)
    assert error.value.code[:3] in ("E01", "E04") and error.value.span is not None


def test_the_tables_are_those_of_the_grammar() -> None:
    assert parse.TABLES.read_bytes().startswith(parse.stamp()), "run tdsl.lang.parse.write_tables()"


def test_a_long_sum_needs_no_deep_stack() -> None:
    assert len(list(ast.walk(parse.parse("x = " + " + ".join(["1"] * 5000))))) > 5000
