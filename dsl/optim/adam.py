"""Adam and its kin: steps scaled by running means of gradients and of their squares."""

from __future__ import annotations

from typing import Any

from tdsl.compiler.graph import Value
from tdsl.optim.optimizer import (
    AVERAGE,
    LARGEST,
    SHRINK,
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

Betas = tuple[float, float]
STEP = Update("a0[...] - size * a1[...] / (sqrt(a2[...]) / root + eps)", "size", "root", "eps")


def check_adam(lr: Any, betas: Betas, eps: float, weight_decay: float) -> None:
    check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
    check(eps >= 0, f"Invalid epsilon value: {eps}")
    for k, beta in enumerate(betas):
        check(0 <= as_number(beta) < 1, f"Invalid beta parameter at index {k}: {beta}")
    check(weight_decay >= 0, f"Invalid weight_decay value: {weight_decay}")


class Adam(Optimizer):
    """Kingma and Ba, arXiv:1412.6980; `amsgrad` by Reddi, Kale and Kumar, arXiv:1904.09237.

    `weight_decay` is added to the gradient (L2), or shrinks the parameter where `decoupled_weight_decay` says so.
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        check_adam(lr, betas, eps, weight_decay)
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize, foreach=foreach,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), exp_avg=filled(p), exp_avg_sq=filled(p))
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = filled(p)
        t = self._count(state)

        def numbers() -> tuple[float, ...]:
            b1, b2 = map(as_number, group["betas"])
            lr = as_number(group["lr"])
            root = (1 - b2**t) ** 0.5
            return 1 - b1, b2, 1 - b2, lr / (1 - b1**t), root, group["eps"], 1 - lr * group["weight_decay"]

        rest1, b2, rest2, size, root, eps, keep = self._numbers(group, p.dtype, t, numbers)
        value = p.value
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            value = SHRINK(value, keep)
            g = self._decayed({"maximize": group["maximize"]}, p, g)
        else:
            g = self._decayed(group, p, g)
        m = AVERAGE(state["exp_avg"].value, g, rest1)
        v = SQUARES(state["exp_avg_sq"].value, g, b2, rest2)
        replace(state["exp_avg"], m)
        replace(state["exp_avg_sq"], v)
        if group["amsgrad"]:
            v = LARGEST(state["max_exp_avg_sq"].value, v)
            replace(state["max_exp_avg_sq"], v)
        p.assign(STEP(value, m, v, size, root, eps))


class AdamW(Adam):
    """Adam whose `weight_decay` shrinks the parameter itself (Loshchilov and Hutter, arXiv:1711.05101)."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip


NORM = Update("maximum(a0[...] * b, abs(a1[...]) + eps)", "b", "eps")
SCALED = Update("a0[...] - size * a1[...] / a2[...]", "size")


class Adamax(Optimizer):
    """Adam with the infinity norm (arXiv:1412.6980, section 7.1)."""

    def __init__(
        self, params: Params, lr: float | Tensor = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_adam(lr, betas, eps, weight_decay)
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
            differentiable=differentiable, capturable=capturable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), exp_avg=filled(p), exp_inf=filled(p))
        t = self._count(state)
        b1, b2 = group["betas"]
        rest, b, eps, size = self._numbers(
            group, p.dtype, t, lambda: (1 - b1, b2, group["eps"], as_number(group["lr"]) / (1 - b1**t))
        )
        g = self._decayed(group, p, g)
        m = AVERAGE(state["exp_avg"].value, g, rest)
        u = NORM(state["exp_inf"].value, g, b, eps)
        replace(state["exp_avg"], m)
        replace(state["exp_inf"], u)
        p.assign(SCALED(p.value, m, u, size))


NESTEROV = Update(
    "a0[...] - (now * a1[...] + next * a2[...]) / (sqrt(a3[...] / correction) + eps)",
    "now",
    "next",
    "correction",
    "eps",
)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, ICLR workshop 2016)."""

    def __init__(
        self, params: Params, lr: float | Tensor = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_adam(lr, betas, eps, weight_decay)
        check(momentum_decay >= 0, f"Invalid momentum_decay value: {momentum_decay}")
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, foreach=foreach, capturable=capturable,
            differentiable=differentiable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), mu_product=scalar(1), exp_avg=filled(p), exp_avg_sq=filled(p))
        t = self._count(state)
        b1, b2 = group["betas"]
        lr, decay = as_number(group["lr"]), group["momentum_decay"]
        mu, ahead = (b1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = float(state["mu_product"].item()) * mu
        state["mu_product"] = scalar(product)
        shrink = group["weight_decay"] and group["decoupled_weight_decay"]
        numbers = self._numbers(group, p.dtype, t, lambda: (
            1 - b1, b2, 1 - b2, lr * (1 - mu) / (1 - product), lr * ahead / (1 - product * ahead), 1 - b2**t,
            group["eps"], 1 - lr * group["weight_decay"],
        ))  # fmt: skip
        rest1, b, rest2, now, then, correction, eps, keep = numbers
        value = SHRINK(p.value, keep) if shrink else p.value
        g = self._decayed({**group, "weight_decay": 0 if shrink else group["weight_decay"]}, p, g)
        m = AVERAGE(state["exp_avg"].value, g, rest1)
        v = SQUARES(state["exp_avg_sq"].value, g, b, rest2)
        replace(state["exp_avg"], m)
        replace(state["exp_avg_sq"], v)
        p.assign(NESTEROV(value, g, m, v, now, then, correction, eps))


PLAIN = Update("a0[...] - size * a1[...]", "size")
RECTIFIED = Update("a0[...] - size * a1[...] / (sqrt(a2[...]) + eps)", "size", "eps")


class RAdam(Optimizer):
    """Adam whose step is rectified while few gradients were seen (Liu et al., arXiv:1908.03265)."""

    def __init__(
        self, params: Params, lr: float | Tensor = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_adam(lr, betas, eps, weight_decay)
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach,
            capturable=capturable, decoupled_weight_decay=decoupled_weight_decay, differentiable=differentiable,
        ))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        if not state:
            state.update(step=scalar(0), exp_avg=filled(p), exp_avg_sq=filled(p))
        t = self._count(state)
        (b1, b2), lr = group["betas"], as_number(group["lr"])
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * t * b2**t / (1 - b2**t)
        size = lr / (1 - b1**t)
        if length > 5:
            rectification = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            size *= (rectification * (1 - b2**t)) ** 0.5
        numbers = self._numbers(
            group, p.dtype, t, lambda: (1 - b1, b2, 1 - b2, size, group["eps"], 1 - lr * group["weight_decay"])
        )
        rest1, b, rest2, scale, eps, keep = numbers
        shrink = group["weight_decay"] and group["decoupled_weight_decay"]
        value = SHRINK(p.value, keep) if shrink else p.value
        g = self._decayed({**group, "weight_decay": 0 if shrink else group["weight_decay"]}, p, g)
        m = AVERAGE(state["exp_avg"].value, g, rest1)
        v = SQUARES(state["exp_avg_sq"].value, g, b, rest2)
        replace(state["exp_avg"], m)
        replace(state["exp_avg_sq"], v)
        p.assign(RECTIFIED(value, m, v, scale, eps) if length > 5 else PLAIN(value, m, scale))
