"""PyTorch's public names on the CPU, and which of them tdsl has: the table of docs/pytorch.md.

    python tests/peer_surface.py    # writes it anew, between the marks that stand in the page

A name agrees when every entry of PyTorch's operator database that stands for it is listed in peer_agreeing.txt, which
test_peer.py holds. Where the database has no entry (layers, optimizers, distributions) other tests compare.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tdsl

PAGE = Path(__file__).parent.parent / "docs" / "pytorch.md"
LISTED = Path(__file__).with_name("peer_agreeing.txt")
BEGIN, END = "<!-- table: tests/peer_surface.py writes it -->\n", "<!-- end of the table -->\n"
NAMESPACES = """
    torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.linalg torch.special torch.fft
    torch.optim torch.optim.lr_scheduler torch.autograd torch.func torch.distributions torch.utils.data
""".split()

# What tdsl is not about, by the words in a name: complex numbers, sparse and quantised tensors, other devices,
# PyTorch's own compilers and its machinery.
OUTSIDE = re.compile(
    r"""(?i)complex|cfloat|cdouble|chalf|view_as_real|polar|stft|sparse|coo|csr|csc|bsr|bsc|coalesce|indices_copy
    |^((c|cc)?(row|col)_)?indices$|values_copy|^values$|^(hs|s|ds)mm$|^hspmm|^spmm|sspaddmm|saddmm|dense_dim|to_dense
    |quant|qparams|qscheme|^q_|int_repr|fbgemm|cudnn|miopen|mkldnn|vulkan|cuda|^ipu|_ipu|xla|xpu|mtia|gpu|pin_memory
    |is_pinned|record_stream|batch_norm_(stats|elemt|gather|backward|update)|^sym_|script|typed_?storage
    |storage_type|^parse_|schema|ir_module|merge_type|unify_type|^fork$|^wait$|compile|^cond$|dispatch|named|nested
    |data_?pipe|DataChunk|distributed|dataparallel|runtime_validation|argument_validation|functionalize|scaled_mm
    |grouped_mm|swizzle|scalingtype|device_module|reinforce|^share_memory|is_shared|non_deterministic|guaranteed_
    |thread_safe_generator|init_num_threads|norm_except_dim|debug_unwrap|enforce_grad|^fused_|slice_inverse
    |const_data_ptr|hash_tensor|to_padded_tensor|module_load|autocast_(incr|decr|cache)|_autocast_|autocast_""",
    re.VERBOSE,
)
# Names that are visible in a namespace but belong to another, or to Python.
COMPLEX = {torch.complex32, torch.complex64, torch.complex128}
FOREIGN = frozenset(
    """Callable DType Optional Tensor assert_int_or_pair boolean_dispatch handle_torch_function has_torch_function
    has_torch_function_unary has_torch_function_variadic factory_kwargs Container NLLLoss2d
    """.split()
)
REMOVED = frozenset("eig lstsq solve symeig".split())  # methods that only say so


@dataclass
class Row:
    """One namespace: its names inside tdsl's bounds, those that tdsl has, and the judged and agreeing ones of these."""

    namespace: str
    names: list[str]
    outside: int
    present: list[str]
    judged: set[str]
    agreeing: set[str]

    @property
    def missing(self) -> list[str]:
        return [n for n in self.names if n not in self.present]


def found(root: Any, path: str) -> Any:
    """What a dotted path of PyTorch's means in `root`, or None."""
    at = root
    for part in path.split(".")[1:]:
        full = getattr(at, "__name__", "") + "." + part
        at = getattr(at, part, None) or _imported(full)
    return at


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def public(namespace: str) -> list[str]:
    """Callable public names, without what the namespace only imports."""
    room = found(torch, namespace)
    names = sorted(getattr(room, "__all__", None) or dir(room))
    names = [n for n in names if not n.startswith("_") and n not in FOREIGN]
    callables = [n for n in names if callable(getattr(room, n, None))]
    if namespace == "torch":  # its classes are the compiler's, but for these
        return [n for n in callables if not inspect.isclass(getattr(room, n)) or n in ("Tensor", "Generator", "Size")]
    if namespace == "torch.Tensor":
        return [n for n in callables if n not in REMOVED]
    return callables


def database() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(judged, agreeing): (namespace, name) of the operators and of their aliases."""
    from peer_judge import chosen, label

    listed = set(LISTED.read_text(encoding="utf-8").split("\n"))
    states: dict[tuple[str, str], bool] = {}
    for op in chosen([]):
        if "complex" in label(op) or op.supported_dtypes("cpu") <= COMPLEX:
            continue
        for entry in (op, *op.aliases):
            path = f"torch.{entry.name}"
            places = [tuple(path.rsplit(".", 1))]
            if entry.method_variant is not None:
                places.append(("torch.Tensor", entry.name.rsplit(".", 1)[-1]))
            for place in places:
                states[place] = states.get(place, True) and label(op) in listed
    return set(states), {place for place, good in states.items() if good}


def rows() -> list[Row]:
    judged, agreeing = database()
    made = []
    for namespace in NAMESPACES:
        names = public(namespace)
        room = found(tdsl, namespace)
        present = [n for n in names if room is not None and hasattr(room, n)]
        kinds = re.compile("") if namespace == "torch.fft" else OUTSIDE
        inside = [n for n in names if n in present or not kinds.search(n)]
        mine = {(namespace, n) for n in present}
        made.append(
            Row(
                namespace,
                inside,
                len(names) - len(inside),
                present,
                {n for _, n in mine & judged},
                {n for _, n in mine & agreeing},
            )
        )
    return made


def table() -> str:
    """The table and the list of what is missing, as Markdown."""
    lines = [
        "| namespace | public names | outside | present | judged by the database | agree |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    found_rows = rows()
    counts = [(len(r.names) + r.outside, r.outside, len(r.present), len(r.judged), len(r.agreeing)) for r in found_rows]
    sums = tuple(sum(column) for column in zip(*counts, strict=True))
    for title, row in zip([f"`{r.namespace}`" for r in found_rows] + ["together"], [*counts, sums], strict=True):
        lines.append(f"| {title} | " + " | ".join(map(str, row)) + " |")
    lines += ["", "### What is missing", ""]
    for r in found_rows:
        if r.missing:
            lines.append(f"- `{r.namespace}`: " + ", ".join(f"`{n}`" for n in r.missing))
    different = [f"`{r.namespace}.{n}`" for r in found_rows for n in sorted(r.judged - r.agreeing)]
    if different:
        lines += ["", "### What the database finds different, in one of its samples at least", "", ", ".join(different)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/pytorch.md with its table written anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return before + BEGIN + table() + END + after


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page(), encoding="utf-8") and None)
