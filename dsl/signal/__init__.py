"""Signal processing under PyTorch's names."""

from tdsl.signal import windows as windows

__all__ = ["windows"]
