"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tdsl.compiler.graph import Value
from tdsl.compiler.source import ValueError
from tdsl.optim.optimizer import Optimizer, update
from tdsl.tensor import Tensor


class SGD(Optimizer):
    """Momentum as PyTorch's: the first step's buffer is the gradient, without dampening (Sutskever et al., 2013)."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        if lr < 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: dict[str, Any]) -> None:
        value = p.value
        if group["maximize"]:
            g = update("-a0[...]", [g], {})
        if group["weight_decay"]:
            g = update("a0[...] + decay * a1[...]", [g, value], {"decay": group["weight_decay"]})
        momentum = group["momentum"]
        if momentum:
            if "momentum_buffer" not in state:
                buffer = update("a0[...]", [g], {})
                state["momentum_buffer"] = Tensor(buffer)
            else:
                old = state["momentum_buffer"].value
                numbers = {"momentum": momentum, "keep": 1 - group["dampening"]}
                buffer = update("momentum * a0[...] + keep * a1[...]", [old, g], numbers)
                state["momentum_buffer"] = Tensor(buffer)
            g = (
                update("a0[...] + momentum * a1[...]", [g, buffer], {"momentum": momentum})
                if group["nesterov"]
                else buffer
            )
        p.assign(update("a0[...] - lr * a1[...]", [value, g], {"lr": group["lr"]}))
