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
    return run("-m", "tdsl", "run", str(EXAMPLES / f"{name}.tdsl"), *options)


def test_convolutions() -> None:
    assert accuracy(example("digits_cnn", "--epochs", "2")) >= 85


@pytest.mark.slow
def test_convolutions_to_the_end() -> None:
    assert accuracy(example("digits_cnn")) >= 98


def test_a_gpt_learns_to_write() -> None:
    text = example("char_gpt", "--steps", "31", "--letters", "10")
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", text)]
    assert losses[-1] < 2.8 < losses[0]
    assert "Shall I compare thee to a summer" in text


def test_an_autoencoder_draws() -> None:
    text = example("vae", "--epochs", "5")
    first, last = (float(x) for x in re.findall(r"pixels ([\d.]+)", text))
    assert last < first - 5
    assert len([line for line in text.splitlines() if len(line) == 16 and "epoch" not in line]) == 16


def test_a_policy_balances() -> None:
    text = example("reinforce", "--rounds", "10", "--games", "32", "--steps", "60")
    first, last = (float(x) for x in re.findall(r"stands for ([\d.]+) steps", text))
    assert last > 1.4 * first


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
