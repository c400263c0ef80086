"""The examples run as a user runs them, and show what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*args: str) -> str:
    result = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", ["custom_function", "dynamic", "index_notation"])
def test_script(name: str) -> None:
    assert run("-m", "tdsl", "run", str(EXAMPLES / f"{name}.tdsl"))


def accuracy(text: str) -> float:
    return float(re.findall(r"accuracy ([\d.]+) %", text)[-1])


def test_digits_in_the_language() -> None:
    assert accuracy(run("-m", "tdsl", "run", str(EXAMPLES / "digits_mlp.tdsl"))) >= 97


def test_digits_in_python() -> None:
    assert accuracy(run(str(EXAMPLES / "digits_mlp.py"))) >= 97


def example(name: str, *options: str) -> str:
    """What an example prints; `.tdsl` is run by the command, `.py` by Python."""
    path = EXAMPLES / name
    assert path.exists()
    return run(*(["-m", "tdsl", "run"] if path.suffix == ".tdsl" else []), str(path), *options)


BOTH = pytest.mark.parametrize("kind", ["tdsl", "py"])


@BOTH
def test_convolutions(kind: str) -> None:
    assert accuracy(example(f"digits_cnn.{kind}", "--epochs", "1")) >= 70


@pytest.mark.slow
@BOTH
def test_convolutions_to_the_end(kind: str) -> None:
    assert accuracy(example(f"digits_cnn.{kind}")) >= 98


def losses(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"loss ([\d.]+)", text)]


@BOTH
def test_a_gpt_learns_to_write(kind: str) -> None:
    text = example(f"char_gpt.{kind}", "--steps", "31", "--letters", "10")
    assert losses(text)[-1] < 2.8 < losses(text)[0]
    assert "Shall I compare thee to a summer" in text


@pytest.mark.slow
@BOTH
def test_a_gpt_learns_the_sonnets(kind: str) -> None:
    assert losses(example(f"char_gpt.{kind}"))[-1] < 0.8


def pixels(text: str) -> tuple[float, float]:
    """The first and the last cost of a picture's pixels; two digits are drawn, of eight lines each."""
    assert len([line for line in text.splitlines() if len(line) == 16 and "epoch" not in line]) == 16
    found = [float(x) for x in re.findall(r"pixels ([\d.]+)", text)]
    return found[0], found[-1]


@BOTH
def test_an_autoencoder_draws(kind: str) -> None:
    first, last = pixels(example(f"vae.{kind}", "--epochs", "5"))
    assert last < first - 5


@pytest.mark.slow
@BOTH
def test_an_autoencoder_draws_well(kind: str) -> None:
    assert pixels(example(f"vae.{kind}"))[1] < 22


def steps_stood(text: str) -> tuple[float, float]:
    found = [float(x) for x in re.findall(r"stands for ([\d.]+) steps", text)]
    return found[0], found[-1]


@BOTH
def test_a_policy_balances(kind: str) -> None:
    first, last = steps_stood(example(f"reinforce.{kind}", "--rounds", "10", "--games", "32", "--steps", "60"))
    assert last > 1.4 * first


@pytest.mark.slow
@BOTH
def test_a_policy_balances_to_the_end(kind: str) -> None:
    assert steps_stood(example(f"reinforce.{kind}"))[1] > 95


def test_printed_kernels_are_the_language() -> None:
    """What `ir --stage kernels` prints of the digits network, forward and backward, tdsl.index accepts again."""
    import tdsl

    text = run("-m", "tdsl", "ir", "--stage", "kernels", str(EXAMPLES / "digits_mlp.tdsl"))
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert len(lines) > 20
    for line in lines:
        tdsl.index(line)


def test_printed_loops_are_mlir() -> None:
    """What `ir --stage loops` prints of the digits network passes xdsl's parser and verifier."""
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects
    from xdsl.parser import Parser

    text = run("-m", "tdsl", "ir", "--stage", "loops", str(EXAMPLES / "digits_mlp.tdsl"))
    context = Context(allow_unregistered=True)
    for name, dialect in get_all_dialects().items():
        context.register_dialect(name, dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    assert sum(op.name == "func.func" for op in module.walk()) > 20
    unknown = {op.op_name.data for op in module.walk() if op.name == "builtin.unregistered"}  # type: ignore[attr-defined]
    assert all(op.startswith("tdsl.") for op in unknown), unknown
