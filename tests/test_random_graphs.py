"""Random programs give the same compiled, op by op in NumPy, without passes, on one thread and two, and in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
from random_graphs import Program, computed, differences, interpreted, judge

import tdsl

DEFAULT = 40  # programs of the default run
SLOW = 2000
BLOCK = 100

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]


@pytest.mark.parametrize("first", range(0, DEFAULT, 10))
def test_compiled_programs_agree_with_numpy(first: int) -> None:
    found = [line for seed in range(first, first + 10) for line in judge(seed)]
    assert not found, "\n\n".join(found)


def test_a_few_in_every_way() -> None:
    found = [line for seed in (100, 101, 102, 103) for line in judge(seed, True, torch)]
    assert not found, "\n\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1000 + SLOW, BLOCK))
def test_two_thousand_in_every_way(first: int) -> None:
    """The seeds are in each message: `python tests/random_graphs.py SEED 1` runs one again."""
    found = [line for seed in range(first, first + BLOCK) for line in judge(seed, True, torch)]
    assert not found, "\n\n".join(found)


def test_a_library_function_sees_the_shape_of_its_argument() -> None:
    """A slot that two shapes share was once handed over under the other shape."""
    program = Program.random(1380)
    assert not differences(program, computed(program), interpreted(program), "compiled")


@pytest.mark.parametrize("seed", [34, 1293])
def test_empty_tensors_are_flattened_and_summed(seed: int) -> None:
    """A size of 0 was once divided by, where the elements of an empty tensor were counted off."""
    program = Program.random(seed)
    assert not differences(program, computed(program), interpreted(program), "compiled")


def test_a_program_is_its_seed() -> None:
    assert Program.random(7).text() == Program.random(7).text() != Program.random(8).text()


def test_a_wrong_element_is_told() -> None:
    program = Program.random(4)
    want = interpreted(program)
    have: list[Any] = [a.copy() for a in want]
    k = next(k for k, a in enumerate(have) if a.size and a.dtype.kind == "f")
    have[k].reshape(-1)[0] += 1
    (line,) = differences(program, have, want, "tried")
    assert line.startswith(f"tried: x[{k}] at 0 is ")


def test_sum_of_an_empty_flattened_tensor() -> None:
    x = tdsl.zeros(16, 0, requires_grad=True)
    total = x.flatten().sum(0, keepdim=True).amin(0)
    total.backward()
    assert total.item() == 0.0
    assert x.grad.shape == (16, 0)
