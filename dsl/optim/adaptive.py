"""Optimizers that scale each element's step by its own history: Adagrad, Adadelta, RMSprop, Rprop."""

from __future__ import annotations

from typing import Any

from tdsl.compiler.graph import Value
from tdsl.optim.optimizer import (
    AVERAGE,
    SQUARES,
    Optimizer,
    Params,
    State,
    Update,
    as_number,
    check,
    filled,
    replace,
    scalar,
)
from tdsl.tensor import Tensor

SUM = Update("a0[...] + a1[...] * a1[...]")
ADAGRAD = Update("a0[...] - lr * a1[...] / (sqrt(a2[...]) + eps)", "lr", "eps")


class Adagrad(Optimizer):
    """Duchi, Hazan and Singer, JMLR 12 (2011)."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(lr_decay >= 0, f"Invalid lr_decay value: {lr_decay}")
        check(weight_decay >= 0, f"Invalid weight_decay value: {weight_decay}")
        check(initial_accumulator_value >= 0, f"Invalid initial_accumulator_value value: {initial_accumulator_value}")
        check(eps >= 0, f"Invalid epsilon value: {eps}")
        super().__init__(params, dict(
            lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, foreach=foreach, maximize=maximize,
            differentiable=differentiable, fused=fused,
        ))  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(step=scalar(0), sum=filled(p, float(initial_accumulator_value)))

    def share_memory(self) -> None:
        """Nothing to do: there is one process."""

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), sum=filled(p, float(group["initial_accumulator_value"])))
        t = self._count(state)
        lr, eps = self._numbers(
            group, p.dtype, t, lambda: (as_number(group["lr"]) / (1 + (t - 1) * group["lr_decay"]), group["eps"])
        )
        g = self._decayed(group, p, g)
        total = SUM(state["sum"].value, g)
        replace(state["sum"], total)
        p.assign(ADAGRAD(p.value, g, total, lr, eps))


DELTA = Update("sqrt(a0[...] + eps) / sqrt(a1[...] + eps) * a2[...]", "eps")
MOVE = Update("a0[...] - lr * a1[...]", "lr")


class Adadelta(Optimizer):
    """Zeiler, arXiv:1212.5701."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(0 <= rho <= 1, f"Invalid rho value: {rho}")
        check(eps >= 0, f"Invalid epsilon value: {eps}")
        check(weight_decay >= 0, f"Invalid weight_decay value: {weight_decay}")
        super().__init__(params, dict(
            lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize, capturable=capturable,
            foreach=foreach, differentiable=differentiable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), square_avg=filled(p), acc_delta=filled(p))
        t = self._count(state)
        rho, rest, eps, lr = self._numbers(
            group, p.dtype, t, lambda: (group["rho"], 1 - group["rho"], group["eps"], as_number(group["lr"]))
        )
        g = self._decayed(group, p, g)
        squares = SQUARES(state["square_avg"].value, g, rho, rest)
        delta = DELTA(state["acc_delta"].value, squares, g, eps)
        replace(state["square_avg"], squares)
        replace(state["acc_delta"], SQUARES(state["acc_delta"].value, delta, rho, rest))
        p.assign(MOVE(p.value, delta, lr))


RMS = Update("a0[...] / (sqrt(a1[...]) + eps)", "eps")
CENTRED = Update("a0[...] / (sqrt(a1[...] - a2[...] * a2[...]) + eps)", "eps")
GATHER = Update("momentum * a0[...] + a1[...]", "momentum")


class RMSprop(Optimizer):
    """Hinton's lecture 6e, 2012; `centered` by Graves, arXiv:1308.0850."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(eps >= 0, f"Invalid epsilon value: {eps}")
        check(momentum >= 0, f"Invalid momentum value: {momentum}")
        check(weight_decay >= 0, f"Invalid weight_decay value: {weight_decay}")
        check(alpha >= 0, f"Invalid alpha value: {alpha}")
        super().__init__(params, dict(
            lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered, weight_decay=weight_decay,
            capturable=capturable, foreach=foreach, maximize=maximize, differentiable=differentiable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), square_avg=filled(p))
            if group["momentum"] > 0:
                state["momentum_buffer"] = filled(p)
            if group["centered"]:
                state["grad_avg"] = filled(p)
        t = self._count(state)
        alpha = group["alpha"]
        a, rest, eps, lr, momentum = self._numbers(
            group, p.dtype, t, lambda: (alpha, 1 - alpha, group["eps"], as_number(group["lr"]), group["momentum"])
        )
        g = self._decayed(group, p, g)
        squares = SQUARES(state["square_avg"].value, g, a, rest)
        replace(state["square_avg"], squares)
        if group["centered"]:
            mean = AVERAGE(state["grad_avg"].value, g, rest)
            replace(state["grad_avg"], mean)
            delta = CENTRED(g, squares, mean, eps)
        else:
            delta = RMS(g, squares, eps)
        if group["momentum"] > 0:
            delta = GATHER(state["momentum_buffer"].value, delta, momentum)
            replace(state["momentum_buffer"], delta)
        p.assign(MOVE(p.value, delta, lr))


# The sign of the product of two gradients says whether a step grows, shrinks or stays.
GROW = Update(
    "minimum(maximum(a0[...] * (up if a1[...] * a2[...] > 0.0 else down if a1[...] * a2[...] < 0.0 else 1.0), least), "
    "most)",
    "up", "down", "least", "most",
)  # fmt: skip
KEEP = Update("0.0 if a0[...] * a1[...] < 0.0 else a0[...]")
SIGNED = Update("a0[...] - sign(a1[...]) * a2[...]")


class Rprop(Optimizer):
    """Riedmiller and Braun, ICNN 1993."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        check(0 < etas[0] < 1 < etas[1], f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, dict(
            lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach, maximize=maximize,
            differentiable=differentiable, capturable=capturable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), prev=filled(p), step_size=filled(p, as_number(group["lr"])))
        t = self._count(state)
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        numbers = self._numbers(group, p.dtype, t, lambda: (up, down, least, most))
        g = self._decayed(group, p, g)
        previous = state["prev"].value
        size = GROW(state["step_size"].value, g, previous, *numbers)
        g = KEEP(g, previous)
        replace(state["step_size"], size)
        replace(state["prev"], g)
        p.assign(SIGNED(p.value, g, size))
