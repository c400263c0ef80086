"""Optimizers under PyTorch's names."""

from tdsl.optim import lr_scheduler
from tdsl.optim.adam import Adam, AdamW
from tdsl.optim.optimizer import Optimizer
from tdsl.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
