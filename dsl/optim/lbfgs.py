"""L-BFGS with a line search (Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4, 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tdsl.autograd.modes import enable_grad, no_grad
from tdsl.compiler.source import ValueError
from tdsl.optim.optimizer import Optimizer, Params, as_number, check
from tdsl.shapes import cat
from tdsl.tensor import Tensor


class Point(NamedTuple):
    """A place along a direction: how far, the loss, its gradient and the slope along the direction."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def cubic(x: Point, y: Point, lo: float | None = None, hi: float | None = None) -> float:
    """Where the cubic through two points with their slopes is least (Nocedal and Wright, 3.59), within bounds."""
    if lo is None or hi is None:
        lo, hi = (x.t, y.t) if x.t <= y.t else (y.t, x.t)
    d1 = x.slope + y.slope - 3 * (x.loss - y.loss) / (x.t - y.t)
    square = d1 * d1 - x.slope * y.slope
    if square < 0:
        return (lo + hi) / 2
    d2 = square**0.5
    if x.t <= y.t:
        least = y.t - (y.t - x.t) * ((y.slope + d2 - d1) / (y.slope - x.slope + 2 * d2))
    else:
        least = x.t - (x.t - y.t) * ((x.slope + d2 - d1) / (x.slope - y.slope + 2 * d2))
    return min(max(least, lo), hi)


def strong_wolfe(
    at: Callable[[float], Point], t: float, start: Point, longest: float, c1: float = 1e-4, c2: float = 0.9,
    tolerance: float = 1e-9, rounds: int = 25,
) -> tuple[Point, int]:  # fmt: skip
    """A step that satisfies the strong Wolfe conditions, or the best seen; and how often the loss was evaluated."""
    previous, now, calls = start, at(t), 1

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + c1 * p.t * start.slope

    bracket: list[Point] = []
    for k in range(rounds):
        if too_high(now) or (k > 0 and now.loss >= previous.loss) or now.slope >= 0:
            if abs(now.slope) <= -c2 * start.slope and not too_high(now):
                return now, calls
            bracket = [previous, now]
            break
        if abs(now.slope) <= -c2 * start.slope:
            return now, calls
        nearest, furthest = now.t + 0.01 * (now.t - previous.t), now.t * 10
        previous, now = now, at(cubic(previous, now, nearest, furthest))
        calls += 1
    if not bracket:
        bracket = [start, now]
    slow = False
    while calls < rounds:
        low, high = sorted(bracket, key=lambda p: p.loss)
        if abs(high.t - low.t) * longest < tolerance:
            break
        t = cubic(bracket[0], bracket[1])
        lo, hi = min(low.t, high.t), max(low.t, high.t)
        margin = 0.1 * (hi - lo)
        if min(hi - t, t - lo) < margin:
            if slow or t >= hi or t <= lo:
                t = hi - margin if abs(t - hi) < abs(t - lo) else lo + margin
                slow = False
            else:
                slow = True
        else:
            slow = False
        now = at(t)
        calls += 1
        if too_high(now) or now.loss >= low.loss:
            bracket = [low, now]
            continue
        if abs(now.slope) <= -c2 * start.slope:
            return now, calls
        bracket = [now, low if now.slope * (high.t - low.t) >= 0 else high]
    return min(bracket, key=lambda p: p.loss), calls


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` changes of the gradient; `step` needs a closure.

    One parameter group only. `line_search_fn` is None (steps of `lr`) or "strong_wolfe".
    """

    def __init__(
        self, params: Params, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        check(as_number(lr) >= 0, f"Invalid learning rate: {lr}")
        super().__init__(params, dict(
            lr=lr, max_iter=max_iter, max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad, tolerance_change=tolerance_change, history_size=history_size,
            line_search_fn=line_search_fn,
        ))  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"only 'strong_wolfe' is supported, not {line_search_fn!r}")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _flat_gradient(self) -> Tensor:
        parts = [(p * 0 if p.grad is None else p.grad).detach().reshape(-1) for p in self._params]
        return cat(parts)

    def _move(self, base: list[Tensor], t: float, direction: Tensor) -> None:
        offset = 0
        for p, x in zip(self._params, base, strict=True):
            n = p.numel()
            p.copy_(x + t * direction[offset : offset + n].reshape(tuple(p.shape)))
            offset += n

    def _direction(self, state: dict[str, Any], g: Tensor) -> Tensor:
        """Minus the inverse Hessian's estimate times the gradient: the two loops (algorithm 7.4)."""
        steps, changes, rho = state["old_stps"], state["old_dirs"], state["ro"]
        q = -g
        weights = []
        for s, y, r in zip(reversed(steps), reversed(changes), reversed(rho), strict=True):
            a = (s * q).sum() * r
            weights.append(a)
            q = q - a * y
        d = q * state["H_diag"]
        for s, y, r, a in zip(steps, changes, rho, reversed(weights), strict=True):
            d = d + s * (a - (y * d).sum() * r)
        return d

    def _remember(self, state: dict[str, Any], g: Tensor, history: int) -> None:
        y = g - state["prev_flat_grad"]
        s = state["d"] * state["t"]
        ys = float((y * s).sum().item())
        if ys <= 1e-10:
            return
        if len(state["old_dirs"]) == history:
            for name in ("old_dirs", "old_stps", "ro"):
                state[name].pop(0)
        state["old_dirs"].append(y)
        state["old_stps"].append(s)
        state["ro"].append(1.0 / ys)
        state["H_diag"] = ys / float((y * y).sum().item())

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` quasi-Newton steps; the loss before the first."""
        if closure is None:
            raise ValueError("LBFGS.step needs a closure that evaluates the model again and returns the loss")
        group, state = self.param_groups[0], self.state[self._params[0]]

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        with no_grad():
            first = evaluate()
            state["func_evals"] = state.get("func_evals", 0) + 1
            state.setdefault("n_iter", 0)
            loss, g, calls = float(first), self._flat_gradient(), 1
            if float(g.abs().max().item()) <= group["tolerance_grad"]:
                return first
            for _ in range(group["max_iter"]):
                done, loss, g, used = self._iterate(group, state, evaluate, loss, g)
                calls += used
                state["func_evals"] += used
                if done or calls >= group["max_eval"]:
                    break
        return first

    def _iterate(
        self, group: dict[str, Any], state: dict[str, Any], evaluate: Callable[[], Any], loss: float, g: Tensor
    ) -> tuple[bool, float, Tensor, int]:
        """One step along one direction: whether to stop, the loss and gradient there, evaluations."""
        state["n_iter"] += 1
        if state["n_iter"] == 1:
            state.update(d=-g, old_dirs=[], old_stps=[], ro=[], H_diag=1)
            t = min(1.0, 1.0 / float(g.abs().sum().item())) * as_number(group["lr"])
        else:
            self._remember(state, g, group["history_size"])
            state["d"] = self._direction(state, g)
            t = as_number(group["lr"])
        d = state["d"]
        state["prev_flat_grad"], state["prev_loss"] = g, loss
        slope = float((g * d).sum().item())
        if slope > -group["tolerance_change"]:
            return True, loss, g, 0
        base = [p.detach().clone() for p in self._params]

        def at(t: float) -> Point:
            self._move(base, t, d)
            value = float(evaluate())
            gradient = self._flat_gradient()
            return Point(t, value, gradient, float((gradient * d).sum().item()))

        longest = float(d.abs().max().item())
        used = 1
        if group["line_search_fn"] is None:
            point = at(t)
        else:
            point, used = strong_wolfe(at, t, Point(0.0, loss, g, slope), longest)
            self._move(base, point.t, d)
        state["t"] = point.t
        small = float(point.gradient.abs().max().item()) <= group["tolerance_grad"]
        still = longest * abs(point.t) <= group["tolerance_change"]
        same = abs(point.loss - loss) < group["tolerance_change"]
        return small or still or same, point.loss, point.gradient, used
