"""Worker processes of a DataLoader: what they run, and how their results and deaths reach the loader.

Each worker has a queue of its own for orders and a pipe of its own for results: a worker that is killed leaves no lock
behind that another waits for, and its pipe's end is seen at once.
"""

from __future__ import annotations

import builtins
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import Any

import numpy.random

from tdsl.compiler.source import RuntimeError
from tdsl.random import manual_seed
from tdsl.runtime.threads import set_num_threads
from tdsl.utils.data.collate import default_collate
from tdsl.utils.data.datasets import TensorDataset


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker this is: its number of `num_workers`, its seed, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs this; None in the main process."""
    return _info


class Failure:
    """An exception on its way to the main process, with its traceback as text."""

    def __init__(self, where: str) -> None:
        kind, _, _ = sys.exc_info()
        assert kind is not None
        self.kind: Any = kind
        self.text = f"Caught {kind.__name__} {where}.\nOriginal {traceback.format_exc()}"

    def reraise(self) -> None:
        """Raise the same kind of exception here."""
        kind: type[Any] = self.kind
        try:
            error = kind(_Lines(self.text)) if issubclass(kind, KeyError) else kind(self.text)
        except Exception:  # a kind that wants other arguments
            error = RuntimeError(self.text)
        raise error


class _Lines(str):
    """A text that a KeyError shows line by line."""

    def __repr__(self) -> str:
        return str(self)


class Ended:
    """A worker's iterable dataset is exhausted."""


class Resume:
    """A worker begins another epoch."""


class Fetcher:
    """Samples as batches: of a dataset with numbers, or of one that is iterated."""

    def __init__(
        self, dataset: Any, iterable: bool, batches: bool, collate: Callable[[Any], Any], drop_last: bool
    ) -> None:
        self.dataset, self.batches, self.collate, self.drop_last = dataset, batches, collate, drop_last
        self.samples = iter(dataset) if iterable else None
        self.ended = False

    def __call__(self, numbers: Any) -> Any:
        """The batch of these numbers; StopIteration where an iterable dataset has no more."""
        if self.samples is not None:
            return self.collate(self._next(numbers))
        dataset = self.dataset
        if not self.batches:
            return self.collate(dataset[numbers])
        if type(dataset) is TensorDataset and self.collate is default_collate and numbers:
            return _rows(dataset, numbers)
        if callable(getattr(dataset, "__getitems__", None)):
            return self.collate(dataset.__getitems__(numbers))
        return self.collate([dataset[k] for k in numbers])

    def _next(self, numbers: Any) -> Any:
        assert self.samples is not None
        if self.ended:
            raise StopIteration
        if not self.batches:
            return next(self.samples)
        found = []
        for _ in numbers:
            try:
                found.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not found or self.drop_last and len(found) < len(numbers):
            raise StopIteration
        return found


def _rows(dataset: TensorDataset, numbers: Any) -> list[Any]:
    """Samples of tensors as one read of each tensor."""
    first, n = numbers[0], len(numbers)
    if list(numbers) == list(range(first, first + n)) and 0 <= first and first + n <= len(dataset):
        return [t[first : first + n].clone() for t in dataset.tensors]
    return [t[list(numbers)] for t in dataset.tensors]


def work(
    worker: int, count: int, seed: int, make_fetcher: Callable[[], Fetcher], dataset: Any, orders: Any, pipe: Any,
    init: Callable[[int], None] | None, threads: int,
) -> None:  # fmt: skip
    """A worker's life: orders in, results out, until it is told to stop or its parent is gone."""
    global _info
    results, read_end = pipe
    read_end.close()  # so that a loader that is gone is noticed
    parent = parent_process()
    problem: Failure | None = None
    fetch: Fetcher | None = None
    where = f"in DataLoader worker process {worker}"
    try:
        _start(worker, seed, threads)
        _info = WorkerInfo(worker, count, seed + worker, dataset)
        if init is not None:
            init(worker)
        fetch = make_fetcher()
    except Exception:
        problem = Failure(where)
    while parent is not None and parent.is_alive():
        ready = connection.wait([orders._reader, parent.sentinel])
        if orders._reader not in ready:
            break
        order = orders.get()
        if order is None:
            break
        if isinstance(order, Resume):
            problem, fetch = _resumed(make_fetcher, where)
            continue
        number, samples = order
        try:
            results.send((number, problem if problem is not None else _result(fetch, samples, where)))
        except OSError:  # nobody reads any more
            break
        except Exception:  # what cannot be pickled
            results.send((number, Failure(where)))


def _start(worker: int, seed: int, threads: int) -> None:
    """Numbers of its own, and one thread: the workers share the cores."""
    random.seed(seed + worker)
    manual_seed(seed + worker)
    numpy.random.seed((seed + worker) % (1 << 32))
    if threads:
        set_num_threads(threads)


def _resumed(make_fetcher: Callable[[], Fetcher], where: str) -> tuple[Failure | None, Fetcher | None]:
    try:
        return None, make_fetcher()
    except Exception:
        return Failure(where), None


def _result(fetch: Fetcher | None, samples: Any, where: str) -> Any:
    assert fetch is not None
    try:
        return fetch(samples)
    except StopIteration:
        if fetch.samples is not None:
            return Ended()
        return Failure(where)
    except builtins.Exception:
        return Failure(where)


def describe_death(processes: Any) -> str:
    """PyTorch's words for workers that died."""
    pids = ", ".join(str(p.pid) for p in processes)
    text = f"DataLoader worker (pid(s) {pids}) exited unexpectedly"
    codes = [p.exitcode for p in processes if p.exitcode is not None and p.exitcode < 0]
    if codes:
        text += f": killed by signal {-codes[0]}"
    return text
