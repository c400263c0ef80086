"""PyTorch's operator database: every operator that agrees keeps agreeing, and how many do is printed.

The quick run takes one sample of each operator; `-m slow` takes more, of more dtypes, and bad inputs.
tests/peer_agreeing.txt lists the operators: `python tests/peer_judge.py --list --limit 3` writes it anew.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's test helpers import it

pytestmark = pytest.mark.peer
LISTED = Path(__file__).parent / "peer_agreeing.txt"


def names() -> list[str]:
    return LISTED.read_text(encoding="utf-8").split("\n")[:-1]


def disagreements(dtypes: list[Any], limit: int, methods: bool, errors: bool) -> tuple[int, list[str]]:
    """(samples that agree, what does not) of the listed operators."""
    wanted = set(names())
    agree, why = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peer_judge import chosen, judge, label

        for op in chosen([]):
            if label(op) not in wanted or methods and op.method_variant is None:
                continue
            score = judge(op, dtypes, limit, methods, errors)
            agree += score.agree
            why += score.why
    return agree, why


def test_listed_operators_agree(peer_summary: list[str]) -> None:
    agree, why = disagreements([torch.float32], 1, False, False)
    peer_summary.append(f"{len(names())} of PyTorch's operators agree as functions, in {agree} samples")
    assert agree > 300
    assert not why, "\n".join(why[:20])


@pytest.mark.slow
def test_listed_operators_agree_as_methods(peer_summary: list[str]) -> None:
    from peer_judge import chosen, label

    listed = set(names())
    methods = sum(op.method_variant is not None and label(op) in listed for op in chosen([]))
    agree, why = disagreements([torch.float32], 1, True, False)
    peer_summary.append(f"{methods} of PyTorch's operators agree as methods, in {agree} samples")
    assert not why, "\n".join(why[:20])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_listed_operators_agree_in_depth(dtype: Any) -> None:
    agree, why = disagreements([dtype], 6, False, dtype is torch.float32)
    assert not why, f"{agree} samples agree\n" + "\n".join(why[:20])
