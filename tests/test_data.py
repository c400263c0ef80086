"""Datasets, samplers, collation, and DataLoader with and without workers; PyTorch judges values and words."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)

Point = namedtuple("Point", ["x", "y"])


class Squares(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, k: int) -> tuple[Any, int]:
        return tdsl.tensor([float(k), k * k]) * 1.0, k


class Trouble(Squares):
    """Something happens at one sample."""

    def __init__(self, what: str) -> None:
        super().__init__(12)
        self.what = what

    def __getitem__(self, k: int) -> Any:
        if k == 5:
            if self.what == "raise":
                raise KeyError("sample five\nis bad")
            if self.what == "odd":
                raise Odd(1, 2)
            if self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "exit":
                os._exit(3)
            if self.what == "sleep":
                time.sleep(60)
            if self.what == "lambda":
                return lambda: 1
        return k


class Odd(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


class Stream(IterableDataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))

    def __len__(self) -> int:
        return self.n


def plain(batch: Any) -> Any:
    if isinstance(batch, list | tuple):
        return [plain(b) for b in batch]
    return batch.tolist() if hasattr(batch, "tolist") else batch


def test_datasets() -> None:
    a, b = tdsl.arange(6).reshape(3, 2), tdsl.arange(3)
    rows = TensorDataset(a, b)
    assert len(rows) == 3 and plain(rows[1]) == [[2, 3], 1]
    assert plain(Subset(rows, [2, 0])[0]) == [[4, 5], 2] and plain(Subset(rows, [2, 0])[[0, 1]]) == [
        [[4, 5], [0, 1]], [2, 0],
    ]  # fmt: skip
    both = rows + Squares(4)
    assert isinstance(both, ConcatDataset) and len(both) == 7 and both[-1][1] == 3 and plain(both[2]) == [[4, 5], 2]
    stacked = StackDataset(Squares(3), range(3))
    assert stacked[2][1] == 2 and len(stacked) == 3 and [s[1] for s in stacked.__getitems__([0, 2])] == [0, 2]
    assert StackDataset(x=range(3), y=Subset(range(3), [2, 1, 0])).__getitems__([0]) == [{"x": 0, "y": 2}]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2] and len(ChainDataset([Stream(2), Stream(3)])) == 5


def test_samplers() -> None:
    tdsl.manual_seed(0)
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]] and len(BatchSampler(range(5), 2, False)) == 3
    once = list(RandomSampler(range(20)))
    assert sorted(once) == list(range(20)) and once != list(range(20))
    assert Counter(list(RandomSampler(range(4), num_samples=10)))[0] in (2, 3)
    assert len(set(RandomSampler(range(1000), replacement=True, num_samples=50))) > 30
    g = tdsl.Generator().manual_seed(3)
    first = list(RandomSampler(range(9), generator=g))
    assert first == list(RandomSampler(range(9), generator=tdsl.Generator().manual_seed(3)))
    drawn = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert drawn[0] == 0 and 850 < drawn[1] < 1150
    parts = random_split(range(10), [0.5, 0.25, 0.25])
    assert sorted(len(p) for p in parts) == [2, 2, 6] and sorted(k for p in parts for k in p.indices) == list(range(10))


COLLATED: list[Callable[[Any], Any]] = [
    lambda t: [1, 2], lambda t: [1.5, 2.5], lambda t: [True, False], lambda t: ["a", "b"], lambda t: [b"a"],
    lambda t: [t.ones(2), t.zeros(2)], lambda t: [np.ones(2), np.zeros(2)], lambda t: [np.float32(1), np.float32(2)],
    lambda t: [(1, "a"), (2, "b")], lambda t: [[1, 2.0], [3, 4.0]], lambda t: [{"x": 1, "y": (2,)}] * 2,
    lambda t: [Point(1, 2.0), Point(3, 4.0)], lambda t: [OrderedDict(a=1), OrderedDict(a=2)],
    lambda t: [[1], [1, 2]], lambda t: [object()], lambda t: [np.array(["a"])], lambda t: [t.ones(1), t.ones(2)],
    lambda t: [None], lambda t: [range(2), range(2)],
]  # fmt: skip
REFUSED: list[Callable[[Any], Any]] = [
    lambda d: d.DataLoader([1], num_workers=-1), lambda d: d.DataLoader([1], timeout=-1),
    lambda d: d.DataLoader([1], prefetch_factor=2), lambda d: d.DataLoader([1], num_workers=1, prefetch_factor=-1),
    lambda d: d.DataLoader([1], persistent_workers=True), lambda d: d.DataLoader([1], shuffle=True, sampler=[0]),
    lambda d: d.DataLoader([1], batch_sampler=[[0]], batch_size=2), lambda d: d.DataLoader([1], None, drop_last=True),
    lambda d: d.DataLoader([1], batch_size=0), lambda d: d.DataLoader([1], batch_size=1.5),
    lambda d: d.DataLoader([], shuffle=True), lambda d: d.DataLoader([1], multiprocessing_context="fork"),
    lambda d: d.DataLoader([1], num_workers=1, multiprocessing_context="knife"),
    lambda d: d.DataLoader([1], num_workers=1, multiprocessing_context=3),
    lambda d: d.DataLoader(d.ChainDataset([]), shuffle=True), lambda d: d.DataLoader(d.ChainDataset([]), sampler=[0]),
    lambda d: d.DataLoader(d.ChainDataset([]), batch_sampler=[0]),
    lambda d: setattr(d.DataLoader([1]), "batch_size", 3), lambda d: d.ConcatDataset([]),
    lambda d: d.ConcatDataset([d.ChainDataset([])]), lambda d: list(d.ChainDataset([[1]])), lambda d: d.StackDataset(),
    lambda d: d.StackDataset([1], [1, 2]), lambda d: d.StackDataset([1], a=[1]), lambda d: d.random_split([1, 2], [3]),
    lambda d: d.random_split([1, 2], [1.5, -0.5]), lambda d: d.RandomSampler([1], replacement=1),
    lambda d: d.RandomSampler([1], num_samples=0), lambda d: d.WeightedRandomSampler([1.0], 0),
    lambda d: d.WeightedRandomSampler([1.0], 1, 3), lambda d: d.WeightedRandomSampler([[1.0]], 1),
    lambda d: d.BatchSampler([1], True, False), lambda d: d.BatchSampler([1], 1, 1),
    lambda d: d.ConcatDataset([[1, 2]])[-3], lambda d: d.Dataset()[0],
]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("k", range(len(COLLATED)))
def test_collation_as_pytorch(k: int) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._pytree import tree_flatten

    from tdsl.func.tree import flatten

    try:
        theirs = torch.utils.data.default_collate(COLLATED[k](torch))
    except Exception as error:
        with pytest.raises(type(error)) as ours:
            tdsl.utils.data.default_collate(COLLATED[k](tdsl))
        assert str(error)[:70] in str(ours.value)
        return
    found = tdsl.utils.data.default_collate(COLLATED[k](tdsl))
    assert type(found).__name__ == type(theirs).__name__
    for a, b in zip(flatten(found)[0], tree_flatten(theirs)[0], strict=True):
        assert plain(a) == plain(b)
        assert not hasattr(b, "dtype") or str(b.dtype)[6:] == a.dtype.torch_name


@pytest.mark.peer
@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_refusals_as_pytorch(k: int) -> None:
    pytest.importorskip("torch")
    peer = importlib.import_module("torch.utils.data")
    with pytest.raises(Exception) as theirs:
        REFUSED[k](peer)
    with pytest.raises(type(theirs.value)) as ours:
        REFUSED[k](tdsl.utils.data)
    assert str(ours.value).startswith(str(theirs.value).split("<")[0][:150])


# ---- loaders


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(workers: int) -> None:
    loader = DataLoader(Squares(7), batch_size=3, num_workers=workers)
    batches = list(loader)
    assert len(loader) == 3 and [plain(b[1]) for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert plain(batches[1][0]) == [[3, 9], [4, 16], [5, 25]]
    assert [plain(b[1]) for b in DataLoader(Squares(7), 3, drop_last=True, num_workers=workers)] == [
        [0, 1, 2], [3, 4, 5],
    ]  # fmt: skip
    tdsl.manual_seed(1)
    shuffled = [k for b in DataLoader(Squares(20), 4, True, num_workers=workers) for k in plain(b[1])]
    assert sorted(shuffled) == list(range(20)) and shuffled != list(range(20))
    assert [plain(b) for b in DataLoader(range(4), batch_sampler=[[3, 1], [0]], num_workers=workers)] == [[3, 1], [0]]
    assert list(DataLoader(range(3), batch_size=None, num_workers=workers)) == [0, 1, 2]
    assert list(DataLoader(range(3), 2, collate_fn=sum, num_workers=workers)) == [1, 2]


def test_the_order_does_not_depend_on_workers() -> None:
    orders = []
    for workers in (0, 2):
        g = tdsl.Generator().manual_seed(5)
        loader = DataLoader(range(12), 3, shuffle=True, generator=g, num_workers=workers)
        orders.append([plain(b) for _ in range(2) for b in loader])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_iterable_datasets(workers: int) -> None:
    loader = DataLoader(Stream(7), batch_size=2, num_workers=workers)
    batches = [plain(b) for b in loader]
    assert sorted(k for b in batches for k in b) == list(range(7)) and len(loader) == 4
    if workers:
        assert batches == [[0, 2], [1, 3], [4, 6], [5]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    short = DataLoader(Stream(5), batch_size=2, drop_last=True, num_workers=workers)
    assert all(len(plain(b)) == 2 for b in short)


class Lying(Stream):
    def __len__(self) -> int:
        return 1


def test_a_length_that_lies_is_warned_of() -> None:
    loader = DataLoader(Lying(2), batch_size=None)
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="Length of IterableDataset .* was reported to be 1"):
        assert list(loader) == [0, 1]


class Told(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, k: int) -> Any:
        info = get_worker_info()
        assert info is not None
        return info.id, os.getpid(), info.seed, tdsl.get_num_threads(), float(tdsl.rand(1)), np.random.rand()


def test_workers_know_themselves() -> None:
    assert get_worker_info() is None
    loader = DataLoader(Told(), batch_size=None, num_workers=2, collate_fn=list, persistent_workers=True)
    first, second = [[list(x) for x in loader] for _ in range(2)]
    assert [x[0] for x in first] == [0, 1, 0, 1] and {x[1] for x in first} == {x[1] for x in second}
    assert first[1][2] == first[0][2] + 1 and all(x[3] == 1 for x in first)
    assert len({x[4] for x in first + second}) == 8 and len({x[5] for x in first + second}) == 8
    pids = {x[1] for x in first}
    del loader
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)


def test_spawned_workers() -> None:
    loader = DataLoader(Squares(4), 2, num_workers=1, multiprocessing_context="spawn")
    assert [plain(b[1]) for b in loader] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("what, kind, message", [
    ("raise", KeyError, r"(?s)Caught KeyError in DataLoader worker process 0.*Original Traceback.*sample five"),
    ("odd", RuntimeError, r"Caught Odd in DataLoader worker process"),
    ("kill", RuntimeError, r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly: killed by signal 9"),
    ("exit", RuntimeError, r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"),
    ("lambda", Exception, r"(?i)pickle"),
])  # fmt: skip
def test_trouble_in_workers(what: str, kind: type[Exception], message: str) -> None:
    loader = DataLoader(Trouble(what), 2, num_workers=2, collate_fn=list)
    found = []
    with pytest.raises(kind, match=message):
        for batch in loader:
            found.append(batch)
    assert found == [[0, 1], [2, 3]][: len(found)] and (found or what in ("kill", "exit"))


def test_a_batch_that_takes_too_long() -> None:
    start = time.monotonic()
    loader = DataLoader(Trouble("sleep"), 2, num_workers=2, timeout=0.5)
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.5 seconds"):
        list(loader)
    assert time.monotonic() - start < 20


def test_worker_init_fn() -> None:
    def fails(k: int) -> None:
        raise ValueError(f"init of {k}")

    with pytest.raises(ValueError, match="(?s)Caught ValueError in DataLoader worker process 0.*init of 0"):
        list(DataLoader(range(4), num_workers=2, worker_init_fn=fails))


class Large(Squares):
    def __getitem__(self, k: int) -> Any:
        return np.zeros(1 << 18)


def test_a_loader_that_is_left_early_leaves_nothing() -> None:
    """Workers that are blocked sending what nobody reads end, or are killed."""
    start = time.monotonic()
    for _ in range(2):
        iterator = iter(DataLoader(Large(40), 1, num_workers=2))
        next(iterator)
        pids = [p.pid for p in iterator.processes]
        del iterator
        assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
    assert time.monotonic() - start < 20


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import os, tdsl
        from tdsl.utils.data import DataLoader
        loader = iter(DataLoader(range(1000), 2, num_workers=2))
        (tdsl.ones(300, 300) @ tdsl.ones(300, 300)).sum().item()
        next(loader)
        print(*[p.pid for p in loader.processes], flush=True)
        os.kill(os.getpid(), 9)
    """)
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    pids = run.stdout.split()
    assert len(pids) == 2, run.stderr
    for _ in range(100):
        if all(not Path(f"/proc/{pid}").exists() or "Z" in state(pid) for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError("workers outlive their parent")


def state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
