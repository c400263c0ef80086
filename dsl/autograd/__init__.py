"""Gradients: `backward`, `grad`, modes, hand-written Functions, checks."""

from tdsl.autograd.check import gradcheck, gradgradcheck
from tdsl.autograd.engine import backward, grad
from tdsl.autograd.function import Function, FunctionContext, once_differentiable
from tdsl.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function", "FunctionContext", "backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled",
    "no_grad", "once_differentiable", "set_grad_enabled",
]  # fmt: skip
