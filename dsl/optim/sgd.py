"""Stochastic gradient descent, plain and averaged."""

from __future__ import annotations

from typing import Any

from tdsl.compiler.graph import Value
from tdsl.optim.optimizer import SHRINK, Optimizer, Params, State, Update, as_number, check, filled, replace, scalar
from tdsl.tensor import Tensor

DESCEND = Update("a0[...] - lr * a1[...]", "lr")
COPY = Update("a0[...]")
ACCUMULATE = Update("momentum * a0[...] + keep * a1[...]", "momentum", "keep")
AHEAD = Update("a0[...] + momentum * a1[...]", "momentum")


class SGD(Optimizer):
    """Gradient descent with momentum (Sutskever et al., ICML 2013).

    The first step's buffer is the gradient, without dampening, as PyTorch has it.
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(momentum >= 0, f"Invalid momentum value: {momentum}")
        check(as_number(weight_decay) >= 0, f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            check(False, "Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(
            lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
            maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        momentum = group["momentum"]
        lr, m, keep = self._numbers(
            group, p.dtype, 0, lambda: (as_number(group["lr"]), momentum, 1 - group["dampening"])
        )
        g = self._decayed(group, p, g)
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = Tensor(COPY(g))
            else:
                replace(buffer, ACCUMULATE(buffer.value, g, m, keep))
            g = AHEAD(g, buffer.value, m) if group["nesterov"] else buffer.value
        p.assign(DESCEND(p.value, g, lr))


MEAN = Update("a0[...] + mu * (a1[...] - a0[...])", "mu")


class ASGD(Optimizer):
    """Averaged gradient descent (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992): the average is in `ax`."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(weight_decay >= 0, f"Invalid weight_decay value: {weight_decay}")
        super().__init__(params, dict(
            lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
            differentiable=differentiable, capturable=capturable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        lr, lambd = as_number(group["lr"]), group["lambd"]
        if not state:
            state.update(step=scalar(0), eta=scalar(lr), mu=scalar(1), ax=filled(p))
        t = self._count(state)
        g = self._decayed(group, p, g)
        eta, mu = float(state["eta"].item()), float(state["mu"].item())
        shrink, step, pull = self._numbers(group, p.dtype, t, lambda: (1 - lambd * eta, eta, mu))
        p.assign(DESCEND(SHRINK(p.value, shrink), g, step))
        replace(state["ax"], MEAN(state["ax"].value, p.value, pull))
        state["eta"] = scalar(lr / (1 + lambd * lr * t) ** group["alpha"])
        state["mu"] = scalar(1 / max(1, t - group["t0"]))
