"""Optimizers under PyTorch's names."""

from tdsl.optim import lr_scheduler, swa_utils
from tdsl.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tdsl.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from tdsl.optim.lbfgs import LBFGS
from tdsl.optim.optimizer import Optimizer
from tdsl.optim.sgd import ASGD, SGD

__all__ = [
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "NAdam", "Optimizer", "RAdam", "RMSprop",
    "Rprop", "SGD", "lr_scheduler", "swa_utils",
]  # fmt: skip
