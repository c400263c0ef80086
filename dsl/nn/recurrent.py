"""Recurrent layers: RNN, LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., arXiv:1406.1078)."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from tdsl import elementwise as ew
from tdsl.arrangements import flip
from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.creation import empty, zeros
from tdsl.nn import functional as F
from tdsl.nn import init
from tdsl.nn.module import Module
from tdsl.nn.parameter import Parameter
from tdsl.nn.utils.rnn import PackedSequence
from tdsl.shapes import cat, stack
from tdsl.tensor import Tensor

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

State = tuple[Tensor, ...]  # (h,), or (h, c) of an LSTM
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _simple(activation: Callable[[Tensor], Tensor]) -> Callable[..., State]:
    def step(x: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
        return (activation(x + F.linear(state[0], w, b)),)

    return step


def _lstm(x: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
    h, c = state
    gates = x + F.linear(h, w, b)
    i, f, g, o = gates.chunk(4, -1)
    c = ew.sigmoid(f) * c + ew.sigmoid(i) * ew.tanh(g)
    return ew.sigmoid(o) * ew.tanh(c), c


def _gru(x: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
    (h,) = state
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = F.linear(h, w, b).chunk(3, -1)
    reset, update = ew.sigmoid(xr + hr), ew.sigmoid(xz + hz)
    new = ew.tanh(xn + reset * hn)
    return (new + update * (h - new),)


STEPS: dict[str, Callable[..., State]] = {
    "LSTM": _lstm, "GRU": _gru, "RNN_TANH": _simple(ew.tanh), "RNN_RELU": _simple(ew.relu),
}  # fmt: skip


class RNNBase(Module):
    """Layers of a recurrence, each in one direction or in both."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if not isinstance(dropout, int | float) or not 0 <= dropout <= 1 or isinstance(dropout, bool):
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        directions, gates, out = (2 if bidirectional else 1), GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            for suffix in [f"l{layer}", f"l{layer}_reverse"][:directions]:
                width = input_size if layer == 0 else out * directions
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, out)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(f"{name}_{suffix}", Parameter(empty(*shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: parameters need not lie together."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [
            [self._parameters[f"{n}_{s}"] for n in names if f"{n}_{s}" in self._parameters] for s in self._suffixes()
        ]

    def _suffixes(self) -> list[str]:
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [f"l{layer}{d}" for layer in range(self.num_layers) for d in directions]

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.ndim not in (2, 3):
            raise ValueError(f"{self._name()}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        lone = input.ndim == 2
        x = input.unsqueeze(1) if lone else input.transpose(0, 1) if self.batch_first else input
        state = self._initial(x, hx, lone)
        y, last = self._run(x, state, None)
        if lone:
            return y.squeeze(1), self._given(tuple(s.squeeze(1) for s in last))
        return (y.transpose(0, 1) if self.batch_first else y), self._given(last)

    def _name(self) -> str:
        return type(self).__name__

    def _given(self, state: State) -> Any:
        return state if self.mode == "LSTM" else state[0]

    def _initial(self, x: Tensor, hx: Any, lone: bool) -> State:
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        if hx is None:
            return tuple(zeros(count, x.shape[1], w, dtype=x.dtype) for w in widths)
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        for s, w in zip(given, widths, strict=True):
            if lone and s.ndim != 2 or not lone and s.ndim != 3:
                raise RuntimeError(
                    f"For {'unbatched 2-D' if lone else 'batched 3-D'} input, hx should also be "
                    f"{'2' if lone else '3'}-D "
                    f"but got {s.ndim}-D tensor"
                )
            want = (count, w) if lone else (count, x.shape[1], w)
            if tuple(s.shape) != want:
                raise RuntimeError(f"Expected hidden size {want}, got {list(s.shape)}")
        return tuple(s.unsqueeze(1) for s in given) if lone else given

    def _run(self, x: Tensor, state: State, sizes: list[int] | None) -> tuple[Tensor, State]:
        """All layers on (T, N, E); `sizes` says how many sequences are alive at each step."""
        last: list[State] = []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            made = []
            for d in range(directions):
                k = layer * directions + d
                start = tuple(s[k] for s in state)
                y, end = self._direction(x, start, f"l{layer}" + ("_reverse" if d else ""), d == 1, sizes)
                made.append(y)
                last.append(end)
            x = made[0] if directions == 1 else cat(made, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack([end[q] for end in last], 0) for q in range(len(last[0])))

    def _direction(
        self, x: Tensor, state: State, suffix: str, backwards: bool, sizes: list[int] | None
    ) -> tuple[Tensor, State]:
        weight = self._parameters
        hr = weight.get(f"weight_hr_{suffix}")
        pre = F.linear(x, weight[f"weight_ih_{suffix}"], weight.get(f"bias_ih_{suffix}"))
        w, b = weight[f"weight_hh_{suffix}"], weight.get(f"bias_hh_{suffix}")
        step = STEPS[self.mode]
        times = range(x.shape[0])
        outputs: list[Tensor] = []
        for t in reversed(times) if backwards else times:
            alive = None if sizes is None else sizes[t]
            before = state if alive is None else tuple(s[:alive] for s in state)
            now = step(pre[t] if alive is None else pre[t, :alive], before, w, b)
            now = now if hr is None else (F.linear(now[0], hr), *now[1:])
            state = now if alive is None else tuple(_kept(n, s) for n, s in zip(now, state, strict=True))
            outputs.append(state[0])
        y = stack(outputs, 0)
        return (flip(y, 0) if backwards else y), state

    def _packed(self, input: PackedSequence, hx: Any) -> Any:
        sizes = input.batch_sizes.tolist()
        padded, steps, batch = input.data, len(sizes), sizes[0]
        starts = [sum(sizes[:t]) for t in range(steps)]
        rows = [F.pad(padded[a : a + n], (0, 0, 0, batch - n)) for a, n in zip(starts, sizes, strict=True)]
        x = stack(rows, 0)
        if hx is not None and input.sorted_indices is not None:
            order = input.sorted_indices
            hx = tuple(s[:, order] for s in hx) if self.mode == "LSTM" else hx[:, order]
        y, last = self._run(x, self._initial(x, hx, False), sizes)
        data = cat([y[t, :n] for t, n in enumerate(sizes)], 0)
        if input.unsorted_indices is not None:
            last = tuple(s[:, input.unsorted_indices] for s in last)
        packed = PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        return packed, self._given(last)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += f", bias={self.bias}" if not self.bias else ""
        text += f", batch_first={self.batch_first}" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (f", bidirectional={self.bidirectional}" if self.bidirectional else "")


def _kept(now: Tensor, before: Tensor) -> Tensor:
    """The states of sequences that have ended stay."""
    return now if now.shape[0] == before.shape[0] else cat([now, before[now.shape[0] :]], 0)


class RNN(RNNBase):
    """h = tanh(W x + b + U h + c), or relu."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 *args: Any, **kwargs: Any) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: (output, (h, c))."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit: (output, h)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrence."""

    mode = ""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, num_chunks: int = 1, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(empty(gates, input_size, dtype=dtype))
        self.weight_hh = Parameter(empty(gates, hidden_size, dtype=dtype))
        self.register_parameter("bias_ih", Parameter(empty(gates, dtype=dtype)) if bias else None)
        self.register_parameter("bias_hh", Parameter(empty(gates, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, input: Tensor, hx: Any, mode: str) -> State:
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        states = [] if hx is None else list(hx) if mode == "LSTM" else [hx]
        for s in states:
            if s.ndim not in (1, 2):
                raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {s.ndim}D instead")
        lone = input.ndim == 1
        x = input.unsqueeze(0) if lone else input
        if x.shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}")
        if not states:
            states = [zeros(x.shape[0], self.hidden_size, dtype=x.dtype) for _ in range(2 if mode == "LSTM" else 1)]
        elif lone:
            states = [s.unsqueeze(0) for s in states]
        for s in states:
            if tuple(s.shape) != (x.shape[0], self.hidden_size):
                raise RuntimeError(
                    f"hidden0 has inconsistent hidden_size: got {s.shape[-1]}, expected {self.hidden_size}"
                    if s.shape[-1] != self.hidden_size else
                    f"Input batch size {x.shape[0]} doesn't match hidden0 batch size {s.shape[0]}"
                )  # fmt: skip
        now = STEPS[mode](F.linear(x, self.weight_ih, self.bias_ih), tuple(states), self.weight_hh, self.bias_hh)
        return tuple(s.squeeze(0) for s in now) if lone else now

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of an RNN."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(input, hx, f"RNN_{self.nonlinearity.upper()}")[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 4, dtype=dtype)

    def forward(self, input: Tensor, hx: Any = None) -> State:
        return self._step(input, hx, "LSTM")


class GRUCell(RNNCellBase):
    """One step of a GRU."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 3, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, hx, "GRU")[0]
