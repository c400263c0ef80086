"""PyTorch's switches of its backends: accepted, and without effect."""

from __future__ import annotations


class _Backend:
    """Attributes may be set; nothing is available."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled = self.benchmark = self.deterministic = self.allow_tf32 = False

    def is_available(self) -> bool:
        return False

    def is_built(self) -> bool:
        return False


cudnn, mps, mkldnn, mkl, openmp, cuda = map(_Backend, ("cudnn", "mps", "mkldnn", "mkl", "openmp", "cuda"))
