"""What the language promises, statement by statement: small programs, and what they print or refuse."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tdsl.compiler.source import TdslError
from tdsl.lang.modules import Session


def run(text: str, folder: Path, **more: str) -> None:
    """Run a program that lies in a folder, with other files beside it."""
    for name, content in more.items():
        (folder / name.replace("__", "/").replace("_tdsl", ".tdsl").replace("_py", ".py")).write_text(
            textwrap.dedent(content), encoding="utf-8"
        )
    path = folder / "program.tdsl"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    Session().load(path)


# What is left of `=>` is a program (lines joined by ` ; ` stand for lines), right of it what it prints.
PRINTS = """
# 4.1 values
print(2 ** 100) => 1267650600228229401496703205376
print(7 // 2, -7 // 2, -7 % 3, 7 / 2) => 3 -4 2 3.5
print("a" + "b", "ab" * 2, "abc"[1], len("abc")) => ab abab b 3
print([1, 2] + [3], (1, 2) + (3,), {"a": 1}["a"]) => [1, 2, 3] (1, 2, 3) 1
print(True and not False or False, 1 < 2 < 3, 1 in [1, 2], 3 not in [1, 2]) => True True True True
x = None ; print(x is None, x is not None) => True False
xs = [3, 1, 2] ; xs.sort() ; xs.append(4) ; print(xs, xs.index(4), xs[::-1], xs[-1]) => [1, 2, 3, 4] 3 [4, 3, 2, 1] 4
d = {"a": 1} ; d["b"] = 2 ; print(list(d.items()), d.get("c", 0), "a" in d) => [('a', 1), ('b', 2)] 0 True
print(" a,b ".strip().split(","), "-".join(["x", "y"]), "abc".replace("b", "_")) => ['a', 'b'] x-y a_c
print("ab".upper(), "AB".lower(), "abc".startswith("ab"), "abc".find("c")) => AB ab True 2
print([i * i for i in range(4) if i % 2 == 0], sorted({3, 1}) if False else "no") => E0100
print([i * i for i in range(4) if i % 2 == 0]) => [0, 4]
f = lambda a, b: a + b ; print(f(1, 2)) => 3
print(sum([1, 2]), max(1, 2), min([3, 1]), abs(-2), any([0, 1]), all([])) => 3 2 1 2 True True
print(list(zip([1, 2], [3, 4])), list(enumerate("ab")), list(reversed([1, 2]))) => [(1, 3), (2, 4)] [(0, 'a'), (1, 'b')] [2, 1]
print(sorted(set("hello"))) => ['e', 'h', 'l', 'o']
print(int("3"), float("1.5"), str(2), bool(0), list((1, 2)), dict([("a", 1)])) => 3 1.5 2 False [1, 2] {'a': 1}
print(0x10, 0b11, 1_000, 1e3, .5) => 16 3 1000 1000.0 0.5
print(1 if False else 2) => 2
# 4.1 tensor literals and promotion
print(tensor([1, 2]).dtype, tensor([1.0, 2]).dtype, tensor([True]).dtype) => tdsl.int64 tdsl.float32 tdsl.bool
print((ones(2) + ones(2, dtype=f64)).dtype, (ones(2) * 2).dtype, (tensor([1]) * 2.0).dtype) => tdsl.float64 tdsl.float32 tdsl.float32
print((tensor([1]) / tensor([2])).dtype, (tensor([1], dtype=i32) + tensor([1])).dtype) => tdsl.float32 tdsl.int64
print((tensor([-7]) // 2).item(), (tensor([-7]) % 3).item(), (ones(1) > 0).dtype) => -4 2 tdsl.bool
print(tensor([1, 2]).sum().dtype, tensor([True]).sum().dtype, tensor([1.0, 3.0, 3.0]).argmax().item()) => tdsl.int64 tdsl.int64 1
x = tensor([1, 2]) ; s = sum[i] x[i] ; print(s.dtype, s.item()) => tdsl.int64 3
x = tensor([1, 2]) ; y[i] := x[i] / 2 ; print(y) => tensor([0.5000, 1.0000])
y[i in 0:3] := i ; print(y, y.dtype) => tensor([0, 1, 2]) tdsl.int64
y[i in 0:3] := i * 0.5 ; print(y) => tensor([0.0000, 0.5000, 1.0000])
y[i in 0:3] := i < 2 ; print(y) => tensor([ True,  True, False])
x = tensor([1, 2]) ; y[i in 0:3] := x[i - 1 else 0.5] ; print(y) => tensor([0.5000, 1.0000, 2.0000])
if tensor([3.0]): ; \tprint("yes") => yes
print(equal(tensor([1, 2]), tensor([1, 2])), allclose(ones(2), ones(2))) => True True
# 4.2 names and functions
n = 3 ; def f(): ; \treturn n + 1 ; print(f()) => 4
def f(a, b: int = 2): ; \treturn a * b ; print(f(3), f(3, 4), f(a=1, b=5)) => 6 12 5
def f(a, b): ; \treturn a - b ; print(f(*[5, 2])) => 3
def outer(): ; \tn = 1 ; \tdef inner(): ; \t\treturn n + 1 ; \treturn inner() ; print(outer()) => 2
def f(n: int) -> int: ; \treturn 0 if n == 0 else 1 + f(n - 1) ; print(f(900)) => 900
def f(x: float): ; \treturn x * 2 ; print(f(3)) => 6
N = 10 ; def f(x: f32[N]): ; \treturn N ; print(f(ones(4)), N) => 4 10
def f(x: f32[N, M], y: f32[N * 2]) -> f32[N, M]: ; \treturn x + N ; print(f(ones(1, 2), ones(2))) => tensor([[2., 2.]])
def f(x: num[*S], y: float[*S]) -> int: ; \treturn x.ndim ; print(f(ones(2, 3), ones(2, 3))) => 2
def f(x: f32[_, ...]): ; \treturn x.shape[0] ; print(f(ones(2, 3, 4))) => 2
def f(x: f32[N] | None): ; \treturn x is None ; print(f(None), f(ones(2))) => True False
def f() -> (int, f32[2]): ; \treturn 1, ones(2) ; a, b = f() ; print(a) => 1
# 4.3 models and structs
struct P: ; \tx: int ; \ty: int = 2 ; p = P(x=1) ; print(p.x, p.y, p == P(x=1, y=2), replace(p, y=5).y) => 1 2 True 5
model M(d: int): ; \tparam w: f32[d] = ones(d) ; \tbuffer b: f32[d] = zeros(d) ; \tk = 3 ; \tdef forward(self, x: f32[N, d]): ; \t\treturn x * self.w + d ; m = M(2) ; print(m(ones(1, 2)), m.k) => tensor([[3., 3.]], grad_fn=<AddBackward0>) 3
model M(): ; \tls = [nn.Linear(2, 2), nn.Linear(2, 1)] ; \tdef forward(self, x): ; \t\treturn x ; print([n for n, _ in M().named_parameters()]) => ['ls.0.weight', 'ls.0.bias', 'ls.1.weight', 'ls.1.bias']
model M(): ; \tbuffer n: f32[] = tensor(0.0) ; \tdef forward(self): ; \t\tself.n = self.n + 1.0 ; \t\treturn self.n ; m = M() ; m() ; m() ; print(m.n.item(), list(m.state_dict().keys())) => 2.0 ['n']
model M(): ; \tdef forward(self): ; \t\treturn self.training ; m = M() ; print(m(), m.eval()(), m.train()()) => True False True
# 4.6 index notation
x = tensor([1.0, 2.0]) ; x[i] := x[i] * 2 ; print(x) => tensor([2., 4.])
x = tensor([[1.0, 2.0]]) ; y = 3.0 * sum[i, j] x[i, j] + 1.0 ; print(y.item()) => 10.0
x = tensor([1.0, 5.0]) ; print((max[i] x[i]).item(), (argmax[i] x[i]).item(), (prod[i] x[i]).item()) => 5.0 1 5.0
x = tensor([1, 5]) ; print((max[i if i > 5] x[i]).item(), (sum[i if i > 5] x[i]).item(), (argmax[i if i > 5] x[i]).item()) => -9223372036854775808 0 -1
x = ones(2) ; print((mean[i if i > 5] x[i]).item(), (logsumexp[i if i > 5] x[i]).item(), (min[i if i > 5] x[i]).item()) => nan -inf inf
x = ones(3) ; print((any[i if i > 5] (x[i] > 0)).item(), (all[i if i > 5] (x[i] > 9)).item()) => False True
x = tensor([1.0, 2.0, 4.0]) ; y[i in 0:2] := x[i + 1] - x[i] ; print(y) => tensor([1., 2.])
x = tensor([1.0, 2.0, 3.0, 4.0]) ; y[i] := x[i // 2] ; print(len(y)) => 8
x = randn(10) ; y[i] := sum[r in 0:2] x[2 * i + r] ; print(len(y)) => 5
model M(): ; \tparam w: f32[2] = ones(2) ; \tdef forward(self): ; \t\ty[i] := self.w[i] * 2 ; \t\treturn y ; print(M()().tolist()) => [2.0, 2.0]
x = ones(2) ; y[i] := (x + 1.0)[i] * relu(x)[i] ; print(y) => tensor([2., 2.])
k = 2 ; x = ones(4) ; y[i] := x[i] * k ; print(y.sum().item()) => 8.0
# 4.7 assert, print, strings
assert 1 < 2, "fine" ; print("ok") => ok
x = 3.14159 ; print(f"{x:.2f}|{x!r:>9}|{42:5d}|{42:<5d}|{'a':^5}|{1234567:,}|{0.25:.0%}|{255:x}") => 3.14|  3.14159|   42|42   |  a  |1,234,567|25%|ff
w = 6 ; print(f"{3.14159:{w}.2f}", f"{{}}", f"{1 + 1}") =>   3.14 {} 2
print(f"{tensor(2.5):.2f} {tensor(3):4d} {tensor(2.5)}") => 2.50    3 2.5
print(1, 2, sep="-", end="!\\n") => 1-2!
s = \"\"\"a ; b\"\"\" ; print(s.splitlines()) => ['a', 'b']
print("it's", 'say "x"', "tab\\tnew") => it's say "x" tab\tnew
# 4.8 randomness
manual_seed(3) ; a = randn(4) ; manual_seed(3) ; print(equal(a, randn(4))) => True
g = Generator(1) ; h = Generator(1) ; print(equal(rand(3, generator=g), rand(3, generator=h))) => True
# 4.5 control flow
n = 0 ; while n < 3: ; \tn += 1 ; \tif n == 2: ; \t\tbreak ; print(n) => 2
for i, (a, b) in enumerate([(1, 2), (3, 4)]): ; \tif i == 0: ; \t\tcontinue ; \tprint(i, a, b) => 1 3 4
x = zeros(3) ; x[0] = 1.0 ; x += 1 ; y = x ; y[1] = 9.0 ; print(x) => tensor([2., 9., 1.])
with no_grad(): ; \tx = ones(2, requires_grad=True) * 2 ; print(x.requires_grad) => False
a, b = 1, 2 ; a, b = b, a ; print(a, b) => 2 1
model = 3 ; param = 4 ; struct = model + param ; print(model, struct) => 3 7
sum = 0 ; sum += 2 ; print(sum) => 2
scan = [1] ; print(scan[0] if False else 1) => 1
"""


def _cases(table: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in table.strip().split("\n"):
        if line.startswith("#"):
            continue
        program, _, want = line.rpartition(" => ")
        found.append((program, want))
    return found


def _program(text: str) -> str:
    return text.replace(" ; ", "\n").replace("\t", "    ") + "\n"


@pytest.mark.parametrize(("text", "want"), _cases(PRINTS))
def test_prints(text: str, want: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if want.startswith("E0"):
        with pytest.raises(TdslError) as refused:
            run(_program(text), tmp_path)
        assert refused.value.code == want
        return
    run(_program(text), tmp_path)
    assert capsys.readouterr().out == want + "\n"


# a program, the code it is refused with, and a part of the message
REFUSES = """
# 3 syntax
if x = 3: ; \tpass => E0105 `=` assigns; a condition compares with `==`
class A: ; \tpass => E0103 `class` is a Python statement that tdsl does not have
try: ; \tpass => E0103 `try` is a Python statement
y = stack([a, b) => E0104 `[` is closed by `)`
a = b = 1 => E01
x = 1; y = 2 => E01
def f(*args): ; \tpass => E01
del x => E0103 `del`
raise x => E0103 `raise`
global x => E0103 `global`
from x import * => E01
print(a && b) => E01
x = 1 if True => E01
x = "abc => E01
x++ => E01
@f ; def g(): ; \tpass => E01
# 3.3 names for types
x = zeros(2, dtype=float32) => E0201 `float32` is not defined
# 4.1
x = 1 ; x._y = 2 => E0108
x = 1 ; print(x.__class__) => E0108
x = 1 ; print(x is 1) => E0206
def f(a=[1]): ; \treturn a => E0203
def f(a=zeros(2)): ; \treturn a => E0203
print((1).real) => E0208
print([1].foo()) => E0208
x = tensor([[1.0], [2.0, 3.0]]) => E0304
if tensor([1.0, 2.0]): ; \tpass => E0503
x = tensor([1, 2]) ; y = mean[i] x[i] => E0306
x = tensor([4]) // tensor([0]) ; print(x) => E0504
print(1 // 0) => E0504
# 4.2
print(sofmax(ones(2))) => E0201 `sofmax` is not defined
def f(): ; \tif False: ; \t\ta = 1 ; \treturn a ; f() => E0202 `a` may have no value here
def f(c): ; \tprint(a) ; \ta = c => E0202
def f(n): ; \tfor i in range(n): ; \t\tlast = i ; \treturn last ; f(0) => E0202 `last` may have no value here
def f(a, b): ; \treturn a ; f(1) => E0204
def f(a): ; \treturn a ; f(1, 2) => E0204
def f(a): ; \treturn a ; f(b=1) => E0204
def f(a, a): ; \treturn a => E0210
n = 1 ; def f(): ; \tn += 1 ; f() => E0202
def f(n): ; \treturn f(n + 1) ; f(0) => E0506
def f(x: f32[N], y: f32[N]): ; \treturn x ; f(ones(2), ones(3)) => E0301 N is 2
def f(x: f32[N]) -> f32[N, N]: ; \treturn x ; f(ones(2)) => E0302
def f(x: i64[N]): ; \treturn x ; f(ones(2)) => E0301
def f(x: int): ; \treturn x ; f("a") => E0301
def f(x: str): ; \treturn x ; f(1) => E0301
def f(x: f32[N + 1], y: f32[N]): ; \treturn x ; f(ones(3), ones(3)) => E0301
return 1 => E0205
# 4.3
model M(): ; \tparam w: f32[2] = ones(3) ; \tdef forward(self): ; \t\treturn self.w ; M() => E03
model M(): ; \tn = 1 ; \tdef forward(self): ; \t\tself.m = 2 ; M()() => E0208
model M(): ; \tparam w: f32[2] = ones(2) ; \tdef forward(self): ; \t\tself.w = ones(2) ; M()() => E0208
model M(): ; \tprint(1) => E0207
struct P: ; \tx: int ; p = P(x=1) ; p.x = 2 => E0209
struct P: ; \tx: int ; p = P(x="a") => E03
struct P: ; \tx: int ; p = P() => E0
param w = 1 => E0207
# 4.4
function F: ; \tdef forward(ctx, x, y): ; \t\treturn x ; \tdef backward(ctx, g): ; \t\treturn g * 2 ; print(F(ones(1), 1)) => E0601 `F.backward` returns 1 value
function F: ; \tdef forward(ctx, x): ; \t\tctx.x = x ; \t\treturn x ; \tdef backward(ctx, g): ; \t\treturn g ; F(ones(1)) => E0602
function F: ; \tdef forward(ctx, x): ; \t\treturn x => E0207
w = ones(2, requires_grad=True) ; y = exp(w) ; y[0] = 0.0 ; y.sum().backward() => E0603
# 4.6
C[i, j] = sum[k] k * 2 => E0418
x = ones(3) ; y[i] := x[j] => E0401
x = ones(3) ; y[2 * i] := x[i] => E0402
x = ones(3) ; y[i, i] := x[i] => E0417
x = ones(3) ; y[i] := sum[i] x[i] => E0417
x = ones(3) ; y[i in 1:3] := x[i] => E0416
x = ones(3) ; y[i] := x => E0405
x = ones(3) ; y[i] := softmax(x[i], dim=0) => E0406
x = ones(3) ; y[i] := x[i, 0] => E0407
x = ones(3) ; y[i] := x[x[i]] => E0408
x = ones(3, 3) ; y = argmax[i, j] x[i, j] => E0409
x = ones(3) ; y[i in 0:4] := x[i] => E0415
x = ones(3) ; print(x[0 else 1.0]) => E04
h = zeros(2) ; scatter[n in 0:2]: h[n] *= 2.0 => E0425
h = zeros(2, dtype=i64) ; scatter[n in 0:2]: h[n] += 0.5 => E0307
x = ones(3) ; scan[t]: h[t] := h[t - 1] + x[t] => E0415
x = ones(3) ; y[i] := x[i + 1] - x[i] => E0415
print(a) ; a = 1 => E0202 `a` has no value yet
x = ones(3) ; scan[t]: h[t] := h[t - 1 else 0.0] + h[t + 1 else 0.0] + x[t] => E0422
x = ones(3) ; ok = all[i] x[i] == x[i] => E0419
y = max(1, 2) ; y max= 3 => E0425
# 4.7
assert 1 > 2, "no" => E0501 assertion failed: no
error("stop") => E0500 stop
x = f"{1:zz}" => E03
# 4.9
x = load_npz("none.npz") => E0704
write_text("x", "/tmp/elsewhere.txt") => E0705
write_text("x", ".hidden") => E0705
# 4.10
import nowhere => E0703
import python.os => E0701
import numpy => E0703
# 4.11
print(open("x")) => E0201
print(eval("1")) => E0201
print(exec) => E0201
x = ones(2) ; print(x.numpy()) => E0208
x = ones(2) ; x.apply_(print) => E0208
print("{0.__class__}".format(1)) => E0208
def f(): ; \treturn 1 ; print(f.func_globals) => E0208
"""


@pytest.mark.parametrize(("text", "want"), _cases(REFUSES))
def test_refuses(text: str, want: str, tmp_path: Path) -> None:
    with pytest.raises(TdslError) as refused:
        run(_program(text), tmp_path)
    code, _, message = want.partition(" ")
    assert refused.value.code.startswith(code), refused.value.render()
    assert message in refused.value.message
    assert refused.value.span is not None or refused.value.labels
