"""Gradients: `backward`, `grad`, modes, hand-written Functions, checks."""

from tdsl.autograd import functional, graph
from tdsl.autograd.anomaly import detect_anomaly, set_detect_anomaly
from tdsl.autograd.check import gradcheck, gradgradcheck
from tdsl.autograd.engine import backward, grad
from tdsl.autograd.function import Function, FunctionContext, once_differentiable
from tdsl.autograd.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function", "FunctionContext", "backward", "detect_anomaly", "enable_grad", "functional", "grad", "gradcheck",
    "gradgradcheck", "graph", "inference_mode", "is_grad_enabled", "no_grad", "once_differentiable",
    "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
