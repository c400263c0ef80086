"""Datasets and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tdsl.compiler.source import ValueError
from tdsl.creation import tensor
from tdsl.random import Generator, randperm
from tdsl.shapes import stack
from tdsl.tensor import Tensor


class Dataset:
    """Subclass with `__getitem__` and `__len__`."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __len__(self) -> int:
        raise NotImplementedError


class TensorDataset(Dataset):
    """Rows of tensors of one length."""

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.shape[0] != tensors[0].shape[0] for t in tensors):
            raise ValueError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset]:
    """Subsets of these lengths, or fractions."""
    n = len(dataset)
    if all(isinstance(x, float) for x in lengths) and abs(sum(lengths) - 1) < 1e-6:
        sizes = [int(n * x) for x in lengths]
        for k in range(n - sum(sizes)):
            sizes[k % len(sizes)] += 1
    else:
        sizes = [int(x) for x in lengths]
    if sum(sizes) != n:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    order = randperm(n, generator=generator).tolist()
    result, at = [], 0
    for size in sizes:
        result.append(Subset(dataset, order[at : at + size]))
        at += size
    return result


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as one batch: tensors stacked, numbers as tensors, tuples and dicts field by field."""
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, tuple | list):
        return type(first)(default_collate(list(field)) for field in zip(*batch, strict=True))
    if isinstance(first, dict):
        return {k: default_collate([b[k] for b in batch]) for k in first}
    if isinstance(first, str):
        return list(batch)
    return tensor(list(batch))


class DataLoader:
    """Batches of a dataset, shuffled by tdsl's generator."""

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, *, drop_last: bool = False,
        collate_fn: Callable[[Sequence[Any]], Any] | None = None, generator: Generator | None = None,
        num_workers: int = 0,
    ) -> None:  # fmt: skip
        if batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if num_workers:
            raise ValueError("worker processes are not supported yet", hint="num_workers=0")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.collate_fn, self.generator = collate_fn, generator

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        order = randperm(n, generator=self.generator) if self.shuffle else None
        positions = None if order is None else order.tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            stop = min(start + self.batch_size, n)
            if self.collate_fn is None and isinstance(self.dataset, TensorDataset):
                rows = slice(start, stop) if order is None else order[start:stop]
                yield list(self.dataset[rows])
                continue
            picked = range(start, stop) if positions is None else positions[start:stop]
            samples = [self.dataset[k] for k in picked]
            yield (self.collate_fn or default_collate)(samples)
