"""Mixed precision under PyTorch's names: on the CPU here, everything keeps its own dtype."""

from __future__ import annotations

from typing import Any

from tdsl.environment import autocast as autocast


class GradScaler:
    """Scales nothing: gradients of float32 do not underflow."""

    def __init__(self, device: str = "cpu", enabled: bool = True, **_: Any) -> None:
        self._enabled = enabled

    def scale(self, outputs: Any) -> Any:
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing was scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """The scale stays 1."""

    def get_scale(self) -> float:
        return 1.0

    def is_enabled(self) -> bool:
        return self._enabled
