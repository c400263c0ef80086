"""Modules, permissions and the options of `tdsl run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsl.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["run", *args])
    found = capsys.readouterr()
    return code, found.out, found.err


def prints(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    code, out, err = run(capsys, *args)
    assert code == 0, err
    return out


def refuses(capsys: pytest.CaptureFixture[str], code: str, *args: str) -> str:
    status, _, err = run(capsys, *args)
    assert status == 1 and err.startswith(f"error[{code}]"), err
    return err


def test_imports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        folder, "m.tdsl", 'print("once")\na = 1\n_b = 2\ndef f(x): \n    return x + a\ndef main():\n    print("no")\n'
    )
    write(folder, "lib/inner/deep.tdsl", "c = 3\n")
    write(folder, "lib/other.tdsl", "d = 4\n")
    text = "import m\nimport m as n\nfrom m import f, a as b\nimport lib.inner.deep\nimport lib.other\n"
    text += "import lib.other as o\nprint(m.f(1), n.a, f(2), b, lib.inner.deep.c, lib.other.d, o.d)\n"
    assert prints(capsys, write(folder, "p.tdsl", text)) == "once\n2 1 3 1 3 4 4\n"
    refuses(capsys, "E0208", write(folder, "q.tdsl", "import m\nprint(m.nothing)\n"))
    refuses(capsys, "E0108", write(folder, "r.tdsl", "import m\nprint(m._b)\n"))
    refuses(capsys, "E0703", write(folder, "s.tdsl", "from m import _b\n"))


def test_search_path(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "one/m.tdsl", "a = 1\n")
    write(folder, "two/n.tdsl", "a = 2\n")
    monkeypatch.setenv("TDSL_PATH", str(folder / "two"))
    assert prints(capsys, "--path", "one", write(folder, "p.tdsl", "import m\nimport n\nprint(m.a, n.a)\n")) == "1 2\n"


def test_cycles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a.tdsl", "import b\n")
    write(folder, "b.tdsl", "import a\n")
    assert "a imports b imports a" in refuses(capsys, "E0702", "a.tdsl")


def test_lists_of_a_module_are_frozen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "m.tdsl", 'xs = [1, [2]]\nd = {"a": [1]}\nxs.append(3)\ndef add():\n    xs.append(4)\n')
    read = "import m\nprint(m.xs, m.d, len(m.xs), m.xs + [5], m.xs.copy(), 1 in m.xs, m.xs[1:])\n"
    assert prints(capsys, write(folder, "p.tdsl", read)).startswith("[1, [2], 3] {'a': [1]} 3 [1, [2], 3, 5]")
    for change in ("m.xs.append(1)", "m.xs[0] = 1", "m.xs[1].append(1)", 'm.d["a"] = 1', 'm.d["a"].sort()', "m.add()"):
        refuses(capsys, "E0706", write(folder, "q.tdsl", f"import m\n{change}\n"))


def test_main_and_its_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'def main(n: int, x: float = 0.5, name: str = "a", fast: bool = False):\n    print(n, x, name, fast)\n'
    write(folder, "p.tdsl", text)
    assert prints(capsys, "p.tdsl", "--n", "3") == "3 0.5 a False\n"
    assert prints(capsys, "p.tdsl", "--n=3", "--x", "1e-3", "--name", "b c", "--fast") == "3 0.001 b c True\n"
    for wrong in (["--nothing", "1"], ["--n", "x"], ["--x", "0.1"]):
        with pytest.raises(SystemExit) as stopped:
            main(["run", "p.tdsl", *wrong])
        assert stopped.value.code == 2
    assert "--n" in capsys.readouterr().err


def test_seed_and_eager(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "p.tdsl", "print(randn(3))\n")
    first = prints(capsys, "p.tdsl")
    assert first == prints(capsys, "p.tdsl") == prints(capsys, "--seed", "0", "p.tdsl")
    assert first != prints(capsys, "--seed", "1", "p.tdsl")


def test_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        folder, "h.py", "import tdsl\n\ndef f(x):\n    return (x * x).sum()\n\ndef fail():\n    raise KeyError('k')\n"
    )
    text = "import python.h as h\nx = ones(2, requires_grad=True)\nh.f(x).backward()\nprint(x.grad)\n"
    write(folder, "p.tdsl", text)
    assert prints(capsys, "--allow-python", "p.tdsl") == "tensor([2., 2.])\n"
    assert prints(capsys, "p.tdsl", "--allow-python=h") == "tensor([2., 2.])\n"
    refuses(capsys, "E0701", "--allow-python=numpy", "p.tdsl")
    refuses(capsys, "E0701", "--allow-python", "--sandbox", "p.tdsl")
    message = refuses(capsys, "E0309", "--allow-python", write(folder, "q.tdsl", "import python.h as h\nh.fail()\n"))
    assert "q.tdsl:2:1" in message


def test_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """x = tensor([[1.0, 2.0], [3.0, 4.0]])
save_npy(x, "x.npy")
save_npz({"x": x, "n": tensor([1, 2])}, "x.npz")
save_csv(x, "x.csv")
save_safetensors({"x": x}, "x.safetensors")
write_text("a\\nb\\n", "x.txt")
print(equal(load_npy("x.npy"), x), load_npz("x.npz")["n"].tolist(), equal(load_csv("x.csv"), x))
print(equal(load_safetensors("x.safetensors")["x"], x), read_lines("x.txt"), len(read_text(here("x.txt"))))
"""
    assert prints(capsys, write(folder, "p.tdsl", text)) == "True [1, 2] True\nTrue ['a', 'b'] 4\n"
    write(folder, "sub/data.txt", "d")
    message = refuses(capsys, "E0704", write(folder, "sub/q.tdsl", 'print(read_text("data.txt"))\n'))
    assert 'it exists beside the script: use here("data.txt")' in message
    (folder / "link").symlink_to(folder.parent)
    refuses(capsys, "E0705", write(folder, "r.tdsl", 'write_text("x", "link/out.txt")\n'))
    refuses(capsys, "E0705", write(folder, "r.tdsl", 'write_text("x", "../out.txt")\n'))
    refuses(capsys, "E0705", write(folder, "r.tdsl", 'write_text("x", ".git/config")\n'))


def test_sandbox(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdsl.cli._limit", lambda memory, time: None)  # it would bind the tests' own process
    write(folder, "outside.txt", "x")
    write(folder, "in/inside.txt", "y")
    read = 'print(read_text(here("inside.txt")))\nprint(read_text(here("../outside.txt")))\n'
    code, out, err = run(capsys, "--sandbox", write(folder, "in/p.tdsl", read))
    assert (code, out) == (1, "y\n") and "error[E0705]" in err
    write(folder, "in/w.tdsl", 'write_text("z", "out/z.txt")\n')
    refuses(capsys, "E0705", "--sandbox", "in/w.tdsl")
    (folder / "out").mkdir()
    prints(capsys, "--sandbox", "--allow-write=out", "in/w.tdsl")
    assert (folder / "out" / "z.txt").read_text() == "z"


def test_limits(folder: Path) -> None:
    import subprocess
    import sys

    write(folder, "p.tdsl", "while True:\n    pass\n")
    command = [sys.executable, "-m", "tdsl", "run", "--timeout", "1", "p.tdsl"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1 and "error[E0507]: the script took longer than 1 s" in found.stderr
