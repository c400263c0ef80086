"""PyTorch as judge: its operator database's samples and bad inputs, run by both, compared in every respect.

    python tests/peer_judge.py add linalg. nn.functional.conv    # ops whose names begin so, or all
    python tests/peer_judge.py --methods --dtypes float32,int64 sum -v

A sample agrees when shape, dtype, aliasing kind (tuple or tensor), values and, for floating inputs, the gradients of a
weighted sum are the same, or when both refuse. `-v` shows the first difference of each op.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import types
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import tdsl

TOLERANCE = {
    torch.float32: (2e-5, 2e-5),
    torch.float64: (1e-6, 1e-7),
    torch.float16: (2e-3, 2e-3),
    torch.bfloat16: (2e-2, 2e-2),
}
NOISE = {"cov": 4e-4}  # gradients that cancel to zero: what rounding alone leaves in float32
RANDOM = frozenset(
    """
    bernoulli multinomial normal randn rand_like randn_like randint randint_like uniform cauchy exponential geometric
    log_normal nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d nn.functional.alpha_dropout
    nn.functional.rrelu nn.functional.feature_alpha_dropout nn.functional.fractional_max_pool2d
    nn.functional.fractional_max_pool3d empty empty_like new_empty empty_strided new_empty_strided empty_permuted
    svd_lowrank pca_lowrank
    """.split()
)
# Outside what tdsl offers: complex numbers, sparse layouts, PyTorch's private entries.
OUTSIDE = tuple(
    """
    fft. sparse. torch. jiterator _ to_sparse cfloat cdouble chalf complex view_as_complex view_as_real stft istft
    polar hash_tensor
    """.split()
)
KEPT = "__getitem__ __radd__ __rand__ __rdiv__ __rmatmul__ __rmod__ __rmul__ __ror__ __rpow__ __rsub__ __rxor__".split()


class Missing(Exception):
    """tdsl has no such function."""


def dtype_of(d: torch.dtype) -> Any:
    found = getattr(tdsl, str(d).removeprefix("torch."), None)
    if found is None:
        raise Missing(str(d))
    return found


Bases = dict[tuple[int, torch.dtype], Any]


def to_tdsl(x: Any, bases: Bases | None = None) -> Any:
    """A sample's argument as tdsl's: tensors copied, dtypes renamed, the rest as it is.

    With `bases`, what shares a storage there shares one here.
    """
    if isinstance(x, torch.Tensor):
        if x.is_complex() or x.layout is not torch.strided:
            raise Missing("complex or sparse")
        if bases is not None:
            return shared(x, bases)
        plain = x.detach()
        narrow = plain.dtype in (torch.float16, torch.bfloat16)
        array = (plain.float() if narrow else plain).contiguous().numpy().copy()
        made = tdsl.tensor(array, dtype=dtype_of(x.dtype))
        return made.requires_grad_() if x.requires_grad else made
    if isinstance(x, torch.dtype):
        return dtype_of(x)
    if isinstance(x, torch.device):
        return "cpu"
    if isinstance(x, torch.memory_format | torch.layout):
        return getattr(tdsl, str(x).removeprefix("torch."))
    if isinstance(x, torch.Size):
        return tuple(x)
    if isinstance(x, list | tuple):
        return type(x)(to_tdsl(e, bases) for e in x)
    if isinstance(x, dict):
        return {k: to_tdsl(e, bases) for k, e in x.items()}
    return x


def shared(x: torch.Tensor, bases: Bases) -> Any:
    """The tensor as a view of its whole storage, which is copied once."""
    key = x.untyped_storage()._cdata, x.dtype
    if key not in bases:
        count = x.untyped_storage().nbytes() // x.itemsize
        bases[key] = to_tdsl(x.detach().as_strided((count,), (1,), 0))
    made = bases[key].as_strided(tuple(x.shape), x.stride(), x.storage_offset())
    return made.detach().requires_grad_() if x.requires_grad else made


def copied(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x.detach().clone().requires_grad_(x.requires_grad)
    if isinstance(x, torch.Size):
        return x
    if isinstance(x, list | tuple):
        return type(x)(copied(e) for e in x)
    if isinstance(x, dict):
        return {k: copied(e) for k, e in x.items()}
    return x


def flat(x: Any, kind: type) -> list[Any]:
    if isinstance(x, kind):
        return [x]
    if isinstance(x, list | tuple):
        return [t for e in x for t in flat(e, kind)]
    if isinstance(x, dict):
        return [t for e in x.values() for t in flat(e, kind)]
    return []


def outputs(x: Any) -> list[Any]:
    """The result as a flat list of tensors and plain values."""
    if isinstance(x, list | tuple) and not isinstance(x, torch.Size | tdsl.Size):
        return [t for e in x for t in outputs(e)]
    return [x]


def array_of(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_conj().resolve_neg()
        return (x.float() if x.dtype is torch.bfloat16 else x).contiguous().numpy()
    return np.asarray(x.detach().float() if str(x.dtype).endswith("bfloat16") else x.detach())


def compare(mine: Any, theirs: Any, random: bool, what: str = "", noise: float = 0.0) -> str | None:
    """None when equal, else what differs."""
    a, b = outputs(mine), outputs(theirs)
    if isinstance(theirs, list | tuple) != isinstance(mine, list | tuple) or len(a) != len(b):
        return f"{what}{len(a)} results ({type(mine).__name__}), not {len(b)} ({type(theirs).__name__})"
    for p, q in zip(a, b, strict=True):
        if not isinstance(q, torch.Tensor):
            if isinstance(p, tdsl.Tensor) or (p != to_tdsl(q) and not (p != p and q != q)):
                return f"{what}{p!r}, not {q!r}"
            continue
        if not isinstance(p, tdsl.Tensor):
            return f"{what}a {type(p).__name__}, not a tensor"
        if q.is_complex():
            raise Missing("complex result")
        if tuple(p.shape) != tuple(q.shape):
            return f"{what}shape {tuple(p.shape)}, not {tuple(q.shape)}"
        if p.dtype.torch_name != str(q.dtype).removeprefix("torch."):
            return f"{what}dtype {p.dtype}, not {q.dtype}"
        if random:
            continue
        rtol, atol = TOLERANCE.get(q.dtype, (0, 0))
        x, y = array_of(p), array_of(q)
        if x.dtype == bool or x.dtype.kind in "iu":
            good = bool((x == y).all())
        else:
            with np.errstate(all="ignore"):
                scale = float(np.max(np.abs(y), initial=0, where=np.isfinite(y)))
                atol = max(atol, noise, rtol * scale * 0.1)
                good = np.allclose(x.astype(float), y.astype(float), rtol=rtol, atol=atol, equal_nan=True)
        if not good:
            return f"{what}values {x.reshape(-1)[:5]}, not {y.reshape(-1)[:5]}"
    return None


def resolve(name: str) -> Any:
    at: Any = tdsl
    path = name.split(".")
    for part in path:
        try:
            at = getattr(at, part)
        except AttributeError:
            at = getattr(tdsl.Tensor, name, None) if len(path) == 1 else None
            if at is None:
                raise Missing(name) from None
    return at


def seeded(op: Any, *args: Any, **kwargs: Any) -> Any:
    tdsl.manual_seed(42)
    return op(*args, **kwargs)


def translated(function: Any) -> Any:
    """A Python function of PyTorch's own test code with tdsl in torch's place: where `op` is no plain operator."""
    if not isinstance(function, types.FunctionType) or not function.__module__.startswith("torch.testing"):
        return None
    if function.__closure__ is not None:
        return None
    names = {**function.__globals__, "torch": tdsl, "F": tdsl.nn.functional, "wrapper_set_seed": seeded}
    made = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def weights(n: int) -> Any:
    return np.cos(np.arange(n, dtype=np.float64)) + 1.5


def backward_both(mine: Any, theirs: Any, inputs: Any, sample: Any, noise: float) -> str | None:
    ours = [t for t in flat(inputs, tdsl.Tensor) if t.requires_grad]
    peers = [t for t in flat(sample, torch.Tensor) if t.requires_grad]
    total_t: Any = 0.0
    total_m: Any = 0.0
    for p, q in zip(outputs(mine), outputs(theirs), strict=True):
        if not isinstance(q, torch.Tensor) or not q.requires_grad:
            if isinstance(p, tdsl.Tensor) and p.requires_grad:
                return "requires_grad is True, not False"
            continue
        if not p.requires_grad:
            return "requires_grad is False, not True"
        w = weights(q.numel()).reshape(q.shape)
        total_t = total_t + (q * torch.tensor(w, dtype=q.dtype)).sum()
        total_m = total_m + (p * tdsl.tensor(w, dtype=p.dtype)).sum()
    if not isinstance(total_t, torch.Tensor):
        return None
    want = torch.autograd.grad(total_t, peers, allow_unused=True)
    have = tdsl.autograd.grad(total_m, ours, allow_unused=True)
    for k, (g, h) in enumerate(zip(have, want, strict=True)):
        if h is None or g is None:
            zero = g if h is None else h
            if zero is not None and np.any(array_of(zero)):
                return f"gradient {k} is {'None' if g is None else 'not None'}"
            continue
        difference = compare(g, h, False, f"gradient {k}: ", noise if h.dtype is torch.float32 else 0.0)
        if difference:
            return difference
    return None


@dataclass
class Score:
    agree: int = 0
    total: int = 0
    why: list[str] = field(default_factory=list)
    missing: bool = False


def say(x: Any) -> str:
    if isinstance(x, torch.Tensor):
        return f"{str(x.dtype)[6:]}{list(x.shape)}"
    if isinstance(x, list | tuple):
        return "(" + ", ".join(map(say, x)) + ")"
    return repr(x) if not isinstance(x, dict) else "{" + ", ".join(f"{k}={say(v)}" for k, v in x.items()) + "}"


def one(function: Any, peer: Any, sample: Any, random: bool, gradient: bool, noise: float = 0.0) -> str | None:
    args = copied((sample.input, *sample.args))
    kwargs = copied(sample.kwargs)
    mine_args, mine_kwargs = to_tdsl(args), to_tdsl(kwargs)
    try:
        theirs = peer(*args, **kwargs)
    except Exception as refused:
        try:
            outputs(function(*mine_args, **mine_kwargs))
        except Exception as e:
            if isinstance(e, type(refused)) or isinstance(refused, RuntimeError) and isinstance(e, tdsl.TdslError):
                return None
            return f"raised {type(e).__name__} {e}, not {type(refused).__name__} {refused}"
        return f"did not raise {type(refused).__name__}: {refused}"
    mine = function(*mine_args, **mine_kwargs)
    random = random or bool(kwargs.get("dropout_p"))
    difference = compare(mine, theirs, random)
    if difference or not gradient or random:
        return difference
    return backward_both(mine, theirs, (mine_args, mine_kwargs), (args, kwargs), noise)


def accepted(peer: Any, sample: Any) -> bool:
    """Whether PyTorch itself takes what its database holds for an error."""
    try:
        peer(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return False
    return True


def judge(op: Any, dtypes: list[torch.dtype], limit: int, method: bool = False, errors: bool = True) -> Score:
    score = Score()
    name = label(op)
    replaced = None if method else translated(op.op)
    try:
        function = replaced or resolve(op.name)
        if method:
            function = getattr(tdsl.Tensor, op.name.split(".")[-1], None)
            if function is None:
                raise Missing(f"Tensor.{op.name}")
    except Missing as e:
        score.missing = True
        score.why.append(f"{name}: missing {e}")
        return score
    peer = op.method_variant if method else op.op
    if replaced is None and not method and isinstance(function, property):
        descriptor = function
        function = lambda x, *a, **k: descriptor.fget(x)  # noqa: E731
    random = op.name in RANDOM
    for d in dtypes:
        if d not in op.supported_dtypes("cpu"):
            continue
        gradient = bool(op.supports_autograd and d.is_floating_point and d in op.supported_backward_dtypes("cpu"))
        torch.manual_seed(0)
        try:
            samples = list(op.sample_inputs("cpu", d, requires_grad=gradient))
        except Exception:
            continue
        step = max(1, len(samples) // limit) if limit else 1
        for sample in samples[::step]:
            shown = f"{name} {say((sample.input, *sample.args))[:160]} {say(sample.kwargs) if sample.kwargs else ''}"
            score.total += 1
            try:
                difference = one(function, peer, sample, random, gradient, NOISE.get(op.name, 0.0))
            except Missing as e:
                difference = f"missing {e}"
                if "complex" in str(e):
                    score.total -= 1
                    continue
            except Exception as e:
                text = traceback.format_exc()[-1500:] if os.environ.get("TRACE") else str(e).split("\n")[0][:300]
                difference = f"raised {type(e).__name__}: {text}"
            if difference is None:
                score.agree += 1
            else:
                score.why.append(f"{shown}: {difference}")
    if errors and op.error_inputs_func is not None and not method:
        try:
            bad = list(op.error_inputs("cpu"))
        except Exception:
            bad = []
        for error in bad:
            sample = error.sample_input
            try:
                bases: Bases = {}
                args = to_tdsl((sample.input, *sample.args), bases)
                kwargs = to_tdsl(sample.kwargs, bases)
            except Exception:
                continue
            if accepted(peer, sample):
                continue
            score.total += 1
            want = f"{error.error_type.__name__} {error.error_regex}"
            try:
                for made in flat(function(*args, **kwargs), tdsl.Tensor):
                    made.tolist()
                score.why.append(f"{name} {say((sample.input, *sample.args))[:160]}: did not raise {want}")
            except Exception as e:
                if isinstance(e, error.error_type):
                    score.agree += 1
                else:
                    score.why.append(f"{name}: raised {type(e).__name__} {e}, not {want}")
    return score


def label(op: Any) -> str:
    return op.name if not op.variant_test_name else f"{op.name} ({op.variant_test_name})"


def chosen(prefixes: list[str]) -> list[Any]:
    inside = [op for op in op_db if op.name in KEPT or not op.name.startswith(OUTSIDE)]

    def wanted(name: str) -> bool:
        return any(name == p.rstrip("$") or not p.endswith("$") and name.startswith(p) for p in prefixes)

    return [op for op in inside if not prefixes or wanted(op.name)]


def write_list(options: argparse.Namespace) -> None:
    """The operators whose samples all agree; bad inputs are not looked at."""
    warnings.simplefilter("ignore")
    dtypes = [getattr(torch, d) for d in options.dtypes.split(",")]
    agreeing = []
    for op in chosen(options.ops):
        score = judge(op, dtypes, options.limit, False, False)
        if score.total and score.agree == score.total:
            agreeing.append(label(op))
        print(f"{score.agree:4}/{score.total:<4} {label(op)}", flush=True)
    Path(__file__).with_name("peer_agreeing.txt").write_text("\n".join(agreeing) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops", nargs="*", help="prefixes of op names; 'sum$' means that name only")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--limit", type=int, default=0, help="about so many samples an op (0: all)")
    parser.add_argument("--methods", action="store_true")
    parser.add_argument("-v", action="store_true", help="show the first differences")
    parser.add_argument("-n", type=int, default=3, help="how many differences -v shows")
    parser.add_argument("--list", action="store_true", help="write the names of what agrees to tests/peer_agreeing.txt")
    options = parser.parse_args()
    if options.list:
        return write_list(options)
    warnings.simplefilter("ignore")
    dtypes = [getattr(torch, d) for d in options.dtypes.split(",")]
    counts: Counter[str] = Counter()
    for op in chosen(options.ops):
        if options.methods and op.method_variant is None:
            continue
        start = time.perf_counter()
        score = judge(op, dtypes, options.limit, options.methods)
        state = "missing" if score.missing else "agrees" if score.agree == score.total else "differs"
        counts[state] += 1
        counts["samples"] += score.total
        counts["agreeing"] += score.agree
        print(
            f"{state:8} {label(op):44} {score.agree:4}/{score.total:<4} {time.perf_counter() - start:6.1f} s",
            flush=True,
        )
        if options.v:
            for why in score.why[: options.n]:
                print("         ", why[: 400 if not os.environ.get("TRACE") else 4000])
    print(dict(counts))


if __name__ == "__main__":
    sys.exit(main())
