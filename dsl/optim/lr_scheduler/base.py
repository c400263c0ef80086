"""What all learning rate schedulers share: counting steps, writing rates into the groups, state."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any

from tdsl.compiler.source import KeyError, TypeError, ValueError
from tdsl.optim.optimizer import Optimizer, as_number
from tdsl.tensor import Tensor

Rate = Any  # a number, or a 0-d tensor that the optimizer's group holds

EPOCH_DEPRECATED = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available. Please open an issue if you are unable to "
    "replicate your use case."
)
_REPLACED = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make sure "
    "to call `optimizer.step()` before `lr_scheduler.step()`."
)
_TOO_EARLY = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in the opposite order: "
    "`optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in skipping the first value of "
    "the learning rate schedule."
)
_UNSTEPPED = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."


def current(optimizer: Optimizer, key: str = "lr") -> list[Rate]:
    """What the groups hold under `key`, tensors as copies."""
    held = [group[key] for group in optimizer.param_groups]
    return [x.clone() if isinstance(x, Tensor) else x for x in held]


def write(group: dict[str, Any], rate: Rate, key: str = "lr") -> None:
    """Put a rate into a group; a tensor that stands there keeps its identity."""
    if isinstance(group[key], Tensor):
        group[key].fill_(as_number(rate))
    else:
        group[key] = rate


def per_group(name: str, optimizer: Optimizer, given: Any) -> list[Any]:
    """One value a group, from a list or from one value for all."""
    n = len(optimizer.param_groups)
    values = list(given) if isinstance(given, list | tuple) else [given] * n
    if len(values) != n:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(values)} values, "
            f"param_groups has {n}."
        )
    return [x.clone() if isinstance(x, Tensor) else x for x in values]


def check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def function_state(function: Any) -> dict[str, Any] | None:
    """What of a function belongs into a state dict: the attributes of a callable object, nothing of a plain one."""
    return None if isinstance(function, FunctionType) else dict(function.__dict__)


class LRScheduler:
    """Subclass with `get_lr()`: the rate of each group at `last_epoch`. `_get_closed_form_lr` may give it directly.

    The constructor makes the first step: it notes each group's `initial_lr` and sets the rates of epoch 0, or of
    `last_epoch + 1` when training goes on.
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _without: tuple[str, ...] = ("optimizer",)  # attributes that are no state
    last_epoch: int
    base_lrs: list[Rate]
    _last_lr: list[Rate]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                rate = group["lr"]
                group.setdefault("initial_lr", rate.clone() if isinstance(rate, Tensor) else rate)
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{k}] when resuming scheduler with last_epoch "
                    ">= 0.\nThis typically happens when:\n1. You're trying to resume training from a checkpoint but "
                    "haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 for a fresh training "
                    "run (not recommended)"
                )
        self.base_lrs = current(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _watch_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def step(self, epoch: int | None = None) -> None:
        """One more epoch: the groups get their rates. Call it after `optimizer.step()`."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(_REPLACED, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(_TOO_EARLY, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATED, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        with self._stepping():
            closed = getattr(self, "_get_closed_form_lr", None)
            self._write(self.get_lr() if epoch is None or closed is None else closed())

    def _write(self, rates: Sequence[Rate]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            write(group, rate)
        self._last_lr = current(self.optimizer)

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """`get_lr` is called by a step, not by the user."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_unless_stepping(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(_UNSTEPPED, UserWarning, stacklevel=3)

    def get_lr(self) -> list[Rate]:
        """The rate of each group at `last_epoch`; `get_last_lr` tells what was set."""
        raise NotImplementedError

    def get_last_lr(self) -> list[Rate]:
        """The rates that the last step set, one a group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer. Functions are left out; callable objects are saved by their attributes."""
        return {k: v for k, v in self.__dict__.items() if k not in self._without}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`."""
        self.__dict__.update(state_dict)


def _watch_steps(optimizer: Optimizer) -> None:
    """Let `optimizer.step` note that it was called."""
    step: Callable[..., Any] = optimizer.step
    if hasattr(step, "_wrapped_by_lr_sched"):
        return
    function, held = getattr(step, "__func__", None), weakref.ref(optimizer)
    if function is None:
        return

    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        owner = held()
        owner._opt_called = True  # type: ignore[union-attr]
        return function(owner, *args, **kwargs)

    noted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noted  # type: ignore[method-assign]
