"""DataLoader: batches of a dataset, loaded here or by worker processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from multiprocessing import connection
from multiprocessing.context import BaseContext
from typing import Any

from tdsl.compiler.source import RuntimeError, TypeError, ValueError
from tdsl.random import Generator
from tdsl.recording import flush
from tdsl.utils.data.collate import default_collate, default_convert
from tdsl.utils.data.datasets import IterableDataset
from tdsl.utils.data.samplers import BatchSampler, RandomSampler, SequentialSampler, fresh_seed
from tdsl.utils.data.workers import Ended, Failure, Fetcher, Resume, describe_death, work

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
JOIN = 2.0  # seconds for a worker to end before it is killed


class DataLoader:
    """Batches of `dataset`, in order, shuffled, or as a sampler says.

    With `num_workers`, processes load them ahead: `prefetch_factor` batches each, kept from epoch to epoch with
    `persistent_workers`. An exception in a worker is raised here with its traceback; a worker that dies raises
    RuntimeError, as does a batch that takes longer than `timeout` seconds. Workers are forked where the system can,
    and run their kernels on one thread; `multiprocessing_context` chooses another way to start them.

    >>> list(DataLoader(range(5), batch_size=2))
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None, sampler: Any = None,
        batch_sampler: Any = None, num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None, multiprocessing_context: Any = None,
        generator: Generator | None = None, *, prefetch_factor: int | None = None, persistent_workers: bool = False,
        pin_memory_device: str = "", in_order: bool = True,
    ) -> None:  # fmt: skip
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.worker_init_fn, self.in_order = worker_init_fn, in_order
        self.multiprocessing_context = _context(multiprocessing_context, num_workers)
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        self.generator = generator
        if sampler is None:
            sampler = self._default_sampler(dataset, bool(shuffle))
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last, self.sampler, self.batch_sampler = (
            batch_size,
            drop_last,
            sampler,
            batch_sampler,
        )
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.persistent_workers = persistent_workers
        self._iterator: _Workers | None = None
        self._length: int | None = None
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and self.__dict__.get("_made"):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def _default_sampler(self, dataset: Any, shuffle: bool) -> Any:
        if self._iterable:
            return _Endless()
        return RandomSampler(dataset, generator=self.generator) if shuffle else SequentialSampler(dataset)

    def __len__(self) -> int:
        if not self._iterable:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)
        n = self._length = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if not self.num_workers:
            return self._here()
        if not self.persistent_workers:
            return _Workers(self)
        if self._iterator is None:
            self._iterator = _Workers(self)
        else:
            self._iterator.reset()
        return self._iterator

    def _numbers(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler  # type: ignore[no-any-return]

    def _fetcher(self) -> Callable[[], Fetcher]:
        batches = self.batch_sampler is not None
        return partial(Fetcher, self.dataset, self._iterable, batches, self.collate_fn, self.drop_last)

    def _here(self) -> Iterator[Any]:
        """Loaded in this process."""
        numbers = iter(self._numbers())
        fresh_seed(self.generator)  # as many numbers are drawn as with workers
        return self._fetched(numbers, self._fetcher()())

    def _fetched(self, numbers: Iterator[Any], fetch: Fetcher) -> Iterator[Any]:
        for k, samples in enumerate(numbers):
            try:
                batch = fetch(samples)
            except StopIteration:
                if fetch.samples is None:
                    raise RuntimeError("the dataset raised StopIteration") from None
                return
            self._warn_of_length(k + 1)
            yield batch

    def _warn_of_length(self, count: int) -> None:
        """An iterable dataset that gives more batches than its length says."""
        if not self._iterable or self._length is None or count <= len(self):
            return
        warnings.warn(
            f"Length of IterableDataset {self.dataset} was reported to be {len(self)}(when accessing len(dataloader)), "
            f"but {count} samples have been fetched. For multiprocessing data-loading, this could be caused by not "
            "properly configuring the IterableDataset replica at each worker.",
            stacklevel=3,
        )


class _Endless:
    """The sampler of an iterable dataset, which knows itself where it ends."""

    def __iter__(self) -> Iterator[None]:
        return repeat(None)


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, x in given.items():
        if x is not None:
            raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={x}")


def _context(given: Any, num_workers: int) -> Any:
    if given is None:
        return None
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            f"num_workers={num_workers}"
        )
    if isinstance(given, str):
        methods = multiprocessing.get_all_start_methods()
        if given not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods!r}, but got "
                f"multiprocessing_context={given!r}"
            )
        return multiprocessing.get_context(given)
    if not isinstance(given, BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, "
            f"but got multiprocessing_context={given}"
        )
    return given


class _Workers:
    """One pass over the data by worker processes; results are given in the order of the batches."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.owner = copy.copy(loader), weakref.ref(loader)  # no cycle: dropping the loader ends them
        self.closed, self.process = False, os.getpid()
        methods = multiprocessing.get_all_start_methods()
        context: Any = loader.multiprocessing_context or multiprocessing.get_context(
            "fork" if "fork" in methods else methods[0]
        )
        flush()  # so that no child computes what is pending here
        seed = fresh_seed(loader.generator) >> 1
        self.orders: list[Any] = []
        self.results: list[Any] = []
        self.processes: list[Any] = []
        for k in range(loader.num_workers):
            orders = context.Queue()
            orders.cancel_join_thread()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=work, daemon=True,
                args=(k, loader.num_workers, seed, loader._fetcher(), loader.dataset, orders, (sender, receiver),
                      loader.worker_init_fn, 1),
            )  # fmt: skip
            with warnings.catch_warnings():  # Python's, of threads and fork: a child of ours runs none
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            sender.close()
            self.orders.append(orders)
            self.results.append(receiver)
            self.processes.append(process)
        self._begin()

    def _begin(self) -> None:
        self.numbers = iter(self.loader._numbers())
        self.sent = 0  # number of the next order
        self.given = 0  # number of the next result
        self.ready: dict[int, Any] = {}
        self.asked: dict[int, int] = {}  # order -> worker
        self.yielded = 0
        self.active = [True] * len(self.processes)
        self.turn = 0
        assert self.loader.prefetch_factor is not None
        for _ in range(max(self.loader.prefetch_factor, 1) * len(self.processes)):
            self._ask()

    def reset(self) -> None:
        """Another epoch by the same processes: what the last left unread is dropped."""
        while self.asked:
            self._receive()
        fresh_seed(self.loader.generator)
        for orders in self.orders:
            orders.put(Resume())
        self._begin()

    def __iter__(self) -> _Workers:
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self) -> Any:
        while True:
            number = self._wanted()
            if number is None:
                if not self.loader.persistent_workers:
                    self.close()
                raise StopIteration
            if number not in self.ready:
                self._receive()
                continue
            result = self.ready.pop(number)
            if self.loader.in_order:
                self.given += 1
            if isinstance(result, Ended):
                continue
            self._ask()
            if isinstance(result, Failure):
                result.reraise()
            self.yielded += 1
            self.loader._warn_of_length(self.yielded)
            return result

    def _wanted(self) -> int | None:
        """The number of the result to give next, None at the end."""
        if not self.loader.in_order:
            return next(iter(self.ready), next(iter(self.asked), None))
        while self.given < self.sent and self.given not in self.asked and self.given not in self.ready:
            self.given += 1
        return self.given if self.given < self.sent else None

    def _ask(self) -> None:
        """One more order, for the next worker that has not ended."""
        for _ in self.processes:
            worker = self.turn
            self.turn = (worker + 1) % len(self.processes)
            if self.active[worker]:
                break
        else:
            return
        try:
            samples = next(self.numbers)
        except StopIteration:
            return
        self.asked[self.sent] = worker
        self.orders[worker].put((self.sent, samples))
        self.sent += 1

    def _receive(self) -> None:
        """Wait for one result, for a death, or until the time is over."""
        timeout = self.loader.timeout
        open_ = {r: k for k, r in enumerate(self.results) if k in self.asked.values()}
        end = time.monotonic() + timeout if timeout > 0 else None
        found = connection.wait(list(open_), None if end is None else max(end - time.monotonic(), 0))
        if not found:
            self.close(wait=0)
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        pipe: Any = found[0]
        worker = open_[pipe]
        try:
            number, result = pipe.recv()
        except (EOFError, OSError):
            self._died(worker)
        self.asked.pop(number)
        self.ready[number] = result
        if isinstance(result, Ended):
            self.active[worker] = False
            self._ask()

    def _died(self, worker: int) -> None:
        self.processes[worker].join(JOIN)
        dead = [p for p in self.processes if not p.is_alive()]
        text = describe_death(dead or [self.processes[worker]])
        self.close()
        raise RuntimeError(text)

    def close(self, wait: float = JOIN) -> None:
        """Stop the workers; one that does not stop in time is killed."""
        if self.closed or os.getpid() != self.process:
            return  # a forked child may collect its copy of this
        self.closed = True
        owner = self.owner()
        if owner is not None and owner._iterator is self:
            owner._iterator = None
        for orders, pipe in zip(self.orders, self.results, strict=True):
            orders.put(None)
            pipe.close()  # a worker that is about to send gives up
        for process in self.processes:
            process.join(wait)
            if process.is_alive():
                process.kill()
                process.join()
        for orders in self.orders:
            orders.close()
        self.asked.clear()
        self.ready.clear()

    def __del__(self) -> None:
        if "processes" in self.__dict__:
            self.close()
