"""Module: parameters, buffers and submodules in one tree, as PyTorch's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tdsl.autograd.modes import no_grad
from tdsl.compiler.dtype import DType, f32, f64
from tdsl.compiler.source import KeyError, RuntimeError, TypeError, ValueError
from tdsl.nn.hooks import BackwardHooks, RemovableHandle, register
from tdsl.nn.parameter import Buffer, Parameter
from tdsl.tensor import Tensor

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
          "_state_dict_pre_hooks", "_load_pre_hooks", "_load_post_hooks")  # fmt: skip


class IncompatibleKeys(NamedTuple):
    """What load_state_dict did not find, and what it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """Subclass, make submodules and parameters in `__init__`, and write `forward`."""

    training: bool

    if TYPE_CHECKING:

        def forward(self, *args: Any, **kwargs: Any) -> Any: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        set_ = object.__setattr__
        set_(self, "training", True)
        for table in ("_parameters", "_buffers", "_modules"):
            set_(self, table, {})
        set_(self, "_transient", set())
        for table in _HOOKS:
            set_(self, table, OrderedDict())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._plain:
            return self.forward(*args, **kwargs)
        return self._with_hooks(args, kwargs)

    @property
    def _plain(self) -> bool:
        """Whether no hook wants to be called."""
        d = self.__dict__
        return not (d["_forward_hooks"] or d["_forward_pre_hooks"] or d["_backward_hooks"] or d["_backward_pre_hooks"])

    def _with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is not None and with_kwargs:
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        backward = None
        if self._backward_hooks or self._backward_pre_hooks:
            hooks, before = list(self._backward_hooks.values()), list(self._backward_pre_hooks.values())
            backward = BackwardHooks(self, hooks, before)
            args = backward.on_inputs(args)
        try:
            result = self.forward(*args, **kwargs)
        except BaseException:
            for hook, with_kwargs, always in list(self._forward_hooks.values()):
                if always:
                    hook(self, args, kwargs, None) if with_kwargs else hook(self, args, None)
            raise
        for hook, with_kwargs, _ in list(self._forward_hooks.values()):
            changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            if changed is not None:
                result = changed
        return result if backward is None else backward.on_outputs(result)

    if not TYPE_CHECKING:

        def forward(self, *args, **kwargs):
            raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        d = self.__dict__
        parameters = d.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (tdsl.nn.Parameter or None expected)"
                )
            parameters[name] = None
        elif isinstance(value, Module):
            if "_modules" not in d:
                raise AttributeError("cannot assign module before Module.__init__() call")
            d.pop(name, None)
            self._modules[name] = value
        elif "_modules" in d and name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (Module or None expected)"
                )
            self._modules[name] = None
        elif isinstance(value, Buffer):
            d.pop(name, None)
            self.register_buffer(name, value, value.__dict__.get("persistent", True))
        elif "_buffers" in d and name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' object to buffer '{name}' (Tensor or None required)"
                )
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                return
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type(param).__name__}' object to parameter '{name}' (Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise RuntimeError("cannot assign non-leaf Tensor to parameter")
            param.value.hint = param.value.hint or name
        self.__dict__.pop(name, None)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that is state but not trained; in the state dict where it is persistent."""
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (tdsl.Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def _check_name(self, kind: str, name: Any, table: Mapping[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in table:
            raise KeyError(f"attribute '{name}' already exists")

    def register_module(self, name: str, module: Module | None) -> None:
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """A child under that name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` before each forward; what it gives replaces the arguments."""
        return register(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """`hook(module, args, output)` after each forward; what it gives replaces the output."""
        return register(self._forward_hooks, (hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` when gradients of the inputs are known; may replace them."""
        return register(self._backward_hooks, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_output)` when gradients of the outputs are known; may replace them."""
        return register(self._backward_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata)` after state_dict."""
        return register(self._state_dict_hooks, hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, prefix, keep_vars)` before state_dict."""
        return register(self._state_dict_pre_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)` before loading."""
        return register(self._load_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(module, incompatible_keys)` after loading; it may empty its lists."""
        return register(self._load_post_hooks, hook)

    # ---- walks

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk = self.named_modules(None, prefix, once) if recurse else [(prefix, self)]
        for path, module in walk:
            for name, x in getattr(module, table).items():
                if x is not None and not (once and id(x) in seen):
                    seen.add(id(x))
                    yield f"{path}.{name}" if path else name, x

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(p.numel() for p in self.parameters())

    def get_submodule(self, target: str) -> Module:
        """The module at a path of names."""
        module: Any = self
        for part in target.split(".") if target else []:
            if not hasattr(module, part):
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
        return module  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a path of names."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path), name, module)

    def _leaf(self, target: str, kind: str, table: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in getattr(module, table):
            raise AttributeError(f"`{name}` is not {kind}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path of names."""
        return self._leaf(target, "an nn.Parameter", "_parameters")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path of names."""
        return self._leaf(target, "a buffer", "_buffers")  # type: ignore[no-any-return]

    # ---- modes

    def train(self, mode: bool = True) -> Self:
        """Into training mode, or out of it: dropout and batch norms mind."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p in self.parameters():
            if p._grad is not None:
                p._grad = None if set_to_none else p._grad.detach().zero_()

    def apply(self, fn: Callable[[Module], None]) -> Self:
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Every parameter and buffer replaced by what `fn` makes of it; gradients, too."""
        with no_grad():
            for module in self.modules() if recurse else [self]:
                for p in module._parameters.values():
                    if p is None:
                        continue
                    new = fn(p.detach())
                    if new.dtype is not p.dtype or tuple(new.shape) != tuple(p.shape):
                        grad = p._grad
                        p.data = new
                        p._grad = None if grad is None else fn(grad)
                for name, b in module._buffers.items():
                    if b is not None:
                        module._buffers[name] = fn(b)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Floating parameters and buffers as another dtype: `to(dtype)`, `to("cpu")`, `to("cpu", dtype)`."""
        for a in (*args, kwargs.get("dtype")):
            if isinstance(a, DType) and not a.is_float:
                raise TypeError(
                    f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={a!r}"
                )
        return self._apply(lambda x: x.to(*args, **kwargs) if x.dtype.is_float else x)

    def type(self, dst_type: DType) -> Self:
        return self._apply(lambda x: x.to(dst_type))

    def float(self) -> Self:
        return self.to(f32)

    def double(self) -> Self:
        return self.to(f64)

    def cpu(self) -> Self:
        return self

    def share_memory(self) -> Self:
        return self

    # ---- state

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Parameters and persistent buffers by name; the tensors share memory with the module's."""
        if args:
            destination, prefix, keep_vars = (*args, *(destination, prefix, keep_vars)[len(args) :])[:3]
        result = OrderedDict() if destination is None else destination
        for path, module in self.named_modules(None, prefix.rstrip("."), False):
            start = f"{path}." if path else ""
            for hook in list(module._state_dict_pre_hooks.values()):
                hook(module, start, keep_vars)
            module._save_to_state_dict(result, start, keep_vars)
        for path, module in reversed(list(self.named_modules(None, prefix.rstrip("."), False))):
            for hook in list(module._state_dict_hooks.values()):
                hook(module, result, f"{path}." if path else "", {})
        return result

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, x in [*self._parameters.items(), *self._buffers.items()]:
            if x is not None and name not in self._transient:
                destination[prefix + name] = x if keep_vars else x.detach()
        extra = type(self).get_extra_state
        if extra is not Module.get_extra_state:
            destination[prefix + "_extra_state"] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """What else belongs to the state dict: for subclasses, with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Copy the tensors in (or take them, with assign). Everything is checked first: a failure changes nothing."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        given = OrderedDict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        for path, module in self.named_modules():
            for hook in list(module._load_pre_hooks.values()):
                hook(module, given, f"{path}." if path else "", {}, strict, missing, unexpected, errors)
        own = self._slots()
        missing += [k for k in own if k not in given]
        unexpected += [k for k in given if k not in own]
        for k, (module, name) in own.items():
            if k in given and name != "_extra_state":
                errors += _misfit(k, getattr(module, name), given[k])
        keys = IncompatibleKeys(missing, unexpected)
        if not errors:
            for module in self.modules():
                for hook in list(module._load_post_hooks.values()):
                    hook(module, keys)
        if strict and unexpected:
            errors.insert(0, "Unexpected key(s) in state_dict: " + ", ".join(f'"{k}"' for k in unexpected) + ". ")
        if strict and missing:
            errors.insert(0, "Missing key(s) in state_dict: " + ", ".join(f'"{k}"' for k in missing) + ". ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        with no_grad():
            for k, (module, name) in own.items():
                if k in given:
                    _load(module, name, given[k], assign)
        return keys

    def _slots(self) -> dict[str, tuple[Module, str]]:
        """Where each key of the state dict belongs."""
        found: dict[str, tuple[Module, str]] = {}
        for path, module in self.named_modules(None, "", False):
            start = f"{path}." if path else ""
            for name, x in [*module._parameters.items(), *module._buffers.items()]:
                if x is not None and name not in module._transient:
                    found[start + name] = (module, name)
            if type(module).get_extra_state is not Module.get_extra_state:
                found[start + "_extra_state"] = (module, "_extra_state")
        return found

    # ---- text

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = []
        for name, module in self._modules.items():
            text = repr(module).split("\n")
            lines.append(f"({name}): " + "\n  ".join(text))
        head = type(self).__name__ + "("
        if not lines:
            return head + extra + ")"
        body = ([extra] if extra else []) + lines
        return head + "\n  " + "\n  ".join(body) + "\n)"


def _misfit(key: str, own: Tensor, given: Any) -> list[str]:
    if not isinstance(given, Tensor):
        return [
            f'While copying the parameter named "{key}", expected a Tensor or Tensor-like object from checkpoint but '
            f"received {type(given)}"
        ]
    if tuple(given.shape) == tuple(own.shape):
        return []
    return [
        f"size mismatch for {key}: copying a param with shape {given.shape!r} from checkpoint, the shape in current "
        "model "
        f"is {own.shape!r}."
    ]


def _load(module: Module, name: str, given: Any, assign: bool) -> None:
    if name == "_extra_state":
        module.set_extra_state(given)
        return
    own = getattr(module, name)
    if not assign:
        own.copy_(given)
    elif name in module._parameters:
        module._parameters[name] = given if isinstance(given, Parameter) else Parameter(given, own.requires_grad)
    else:
        module._buffers[name] = given
