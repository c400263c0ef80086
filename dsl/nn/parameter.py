"""Parameters: tensors that a module trains."""

from __future__ import annotations

from typing import Any

from tdsl.compiler.graph import input_value
from tdsl.recording import Mode, known
from tdsl.tensor import Tensor


class Parameter(Tensor):
    """A leaf that requires grad; assigned to a module, it is one of its parameters."""

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        value = known(data.value)
        super().__init__(input_value(value.type, value.data))
        if requires_grad:
            on, Mode.grad = Mode.grad, True
            self.requires_grad_()
            Mode.grad = on

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        made = Parameter(self.detach().clone(), self.requires_grad)
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Parameter, (self.detach().clone(), self.requires_grad)


class Buffer(Tensor):
    """A tensor that a module keeps but does not train: assigned to a module, it is one of its buffers."""

    __slots__ = ()

    def __init__(self, data: Tensor, *, persistent: bool = True) -> None:
        value = known(data.value)
        super().__init__(input_value(value.type, value.data))
        self.__dict__["persistent"] = persistent
