"""Adam (Kingma and Ba, arXiv:1412.6980) and AdamW (Loshchilov and Hutter, arXiv:1711.05101)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tdsl.compiler.graph import Value, apply
from tdsl.compiler.source import ValueError
from tdsl.optim.optimizer import Optimizer, update
from tdsl.tensor import Tensor


class Adam(Optimizer):
    """`weight_decay` is added to the gradient (L2)."""

    decoupled = False

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        if lr < 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if eps < 0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for k, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {k}: {beta}")
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize))  # fmt: skip

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: dict[str, Any]) -> None:
        value, (b1, b2), lr = p.value, group["betas"], group["lr"]
        if group["maximize"]:
            g = update("-a0[...]", [g], {})
        decay = group["weight_decay"]
        if decay and self.decoupled:
            value = update("a0[...] * keep", [value], {"keep": 1 - lr * decay})
        elif decay:
            g = update("a0[...] + decay * a1[...]", [g, value], {"decay": decay})
        if not state:
            state["step"] = 0.0
            zero = apply("full", apply("constant", value=0.0, dtype=p.dtype), shape=tuple(p.shape))
            state["exp_avg"] = state["exp_avg_sq"] = Tensor(zero)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = Tensor(zero)
        state["step"] += 1
        m = update("a0[...] + rest * (a1[...] - a0[...])", [state["exp_avg"].value, g], {"rest": 1 - b1})
        v = update("b * a0[...] + rest * a1[...] * a1[...]", [state["exp_avg_sq"].value, g], {"b": b2, "rest": 1 - b2})
        state["exp_avg"], state["exp_avg_sq"] = Tensor(m), Tensor(v)
        if group["amsgrad"]:
            v = update("maximum(a0[...], a1[...])", [state["max_exp_avg_sq"].value, v], {})
            state["max_exp_avg_sq"] = Tensor(v)
        numbers = {
            "size": lr / (1 - b1 ** state["step"]),
            "root": (1 - b2 ** state["step"]) ** 0.5,
            "eps": group["eps"],
        }
        p.assign(update("a0[...] - size * a1[...] / (sqrt(a2[...]) / root + eps)", [value, m, v], numbers))


class AdamW(Adam):
    """`weight_decay` shrinks the parameter itself."""

    decoupled = True

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
