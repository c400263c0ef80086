"""Averages of a model's parameters along training (Izmailov et al., arXiv:1803.05407)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tdsl.autograd.modes import no_grad
from tdsl.compiler.source import ValueError
from tdsl.creation import tensor
from tdsl.nn.module import Module
from tdsl.tensor import Tensor

__all__ = ["AveragedModel", "get_ema_avg_fn", "get_swa_avg_fn"]
Average = Callable[[Tensor, Tensor, Any], Tensor]


def get_swa_avg_fn() -> Average:
    """The equal average of all models seen."""

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (current - averaged) / (num_averaged + 1)

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential average: `decay` of the average, the rest of the model."""
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return average


class AveragedModel(Module):
    """A copy of the model, `module`, whose parameters are averages of those that `update_parameters` saw.

    `avg_fn(averaged, current, num_averaged)` gives the new average; without one, the equal average. With
    `use_buffers` the buffers are averaged too, else they are copied from the model.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None, multi_avg_fn: Any = None,
        use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _averaged(self, model: Module) -> list[Tensor]:
        return [*model.parameters(), *(model.buffers() if self.use_buffers else ())]

    def update_parameters(self, model: Module) -> None:
        """One more model for the average; the first is copied."""
        mine = [x.detach() for x in self._averaged(self.module)]
        new = [x.detach() for x in self._averaged(model)]
        with no_grad():
            if self.n_averaged == 0:
                for a, b in zip(mine, new, strict=True):
                    a.copy_(b)
            elif self.multi_avg_fn is not None:
                self.multi_avg_fn(mine, new, self.n_averaged)
            else:
                average = self.avg_fn or get_swa_avg_fn()
                for a, b in zip(mine, new, strict=True):
                    a.copy_(average(a, b, self.n_averaged))
            if not self.use_buffers:
                for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.detach().copy_(b.detach())
            self.n_averaged += 1
