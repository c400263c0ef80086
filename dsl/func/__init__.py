"""Transforms of functions: derivatives (`grad`, `vjp`, `jvp`, `jacrev`, ...), `vmap`, and models as functions."""

from tdsl.func.derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp
from tdsl.func.modules import functional_call, stack_module_state
from tdsl.func.vmap import vmap

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state", "vjp",
    "vmap",
]  # fmt: skip
