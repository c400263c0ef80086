"""Backward that looks for NaN, and names the line of the program where a gradient that fails was recorded."""

from __future__ import annotations

import warnings
from typing import Any

from tdsl.recording import Mode

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Turns the search on or off at once; as a context manager, until the block ends.

    While it is on, a backward raises at the first op whose gradient has a NaN (unless `check_nan` is False), and
    warns with the place where that op was recorded, whatever goes wrong in it.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = Mode.anomaly, Mode.check_nan
        Mode.everywhere(anomaly=mode, check_nan=check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        Mode.everywhere(anomaly=self.before[0], check_nan=self.before[1])


class detect_anomaly:
    """`set_detect_anomaly(True)` for a `with` block."""

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.before: Any = None
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            UserWarning,
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.before = set_detect_anomaly(True, self.check_nan)

    def __exit__(self, *_: object) -> None:
        self.before.__exit__()
