"""The command, called in this process."""

import json
from pathlib import Path

import pytest

from tdsl.cli import main, parse_shapes

SCRIPT = """def main(n: int = 3, rate: float = 0.5, fast: bool = False):
    print(n, rate, fast)
    assert n < 10, "too many"
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "a.tdsl"
    path.write_text(SCRIPT)
    return str(path)


def test_options_of_main(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", script, "--n", "4", "--rate", "1e-3", "--fast"]) == 0
    assert capsys.readouterr().out == "4 0.001 True\n"


def test_an_error_is_rendered_and_exits_with_1(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", script, "--n", "10"]) == 1
    assert "error[E0501]: assertion failed: too many" in capsys.readouterr().err


def test_check_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.tdsl"
    path.write_text("x = 1\ny = foo(x)\n")
    assert main(["check", "--message-format=json", str(path)]) == 1
    (fault,) = json.loads(capsys.readouterr().out)
    assert (fault["code"], fault["line"], fault["column"]) == ("E0201", 2, 5)


def test_ast(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", "--stage", "ast", script]) == 0
    assert capsys.readouterr().out.startswith("File\n  FuncDef name='main'")


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "e0410"]) == 0
    assert "two sizes" in capsys.readouterr().out
    assert main(["explain", "E9"]) == 1


def test_shapes() -> None:
    assert parse_shapes("x=f32[8,64] w=f32[] n=3") == {"x": ("f32", (8, 64)), "w": ("f32", ()), "n": 3}
