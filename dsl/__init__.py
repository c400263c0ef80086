"""tdsl, the tensor language that compiles: PyTorch's way of working, every kernel a readable line.

>>> import tdsl
>>> x = tdsl.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

# The star imports take what each room lists in its __all__: PyTorch's names.
# ruff: noqa: F403

from __future__ import annotations

from importlib import import_module
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi
from typing import Any

from tdsl.arrangements import *
from tdsl.autograd.modes import enable_grad as enable_grad
from tdsl.autograd.modes import inference_mode as inference_mode
from tdsl.autograd.modes import is_grad_enabled as is_grad_enabled
from tdsl.autograd.modes import is_inference_mode_enabled as is_inference_mode_enabled
from tdsl.autograd.modes import no_grad as no_grad
from tdsl.autograd.modes import set_grad_enabled as set_grad_enabled
from tdsl.bits import *
from tdsl.compiler.dtype import DType as DType
from tdsl.compiler.dtype import bf16 as bf16
from tdsl.compiler.dtype import bool_ as bool_
from tdsl.compiler.dtype import f16 as f16
from tdsl.compiler.dtype import f32 as f32
from tdsl.compiler.dtype import f64 as f64
from tdsl.compiler.dtype import i8 as i8
from tdsl.compiler.dtype import i16 as i16
from tdsl.compiler.dtype import i32 as i32
from tdsl.compiler.dtype import i64 as i64
from tdsl.compiler.dtype import promote as promote
from tdsl.compiler.dtype import u8 as u8
from tdsl.compiler.source import DTypeError as DTypeError
from tdsl.compiler.source import GradError as GradError
from tdsl.compiler.source import IndexError as IndexError
from tdsl.compiler.source import IndexNotationError as IndexNotationError
from tdsl.compiler.source import InternalError as InternalError
from tdsl.compiler.source import IRError as IRError
from tdsl.compiler.source import ShapeError as ShapeError
from tdsl.compiler.source import SyntaxError as SyntaxError
from tdsl.compiler.source import TdslError as TdslError
from tdsl.copies import *
from tdsl.creation import *
from tdsl.einsum import *
from tdsl.elementwise import *
from tdsl.formulas import *
from tdsl.gathering import *
from tdsl.histograms import *
from tdsl.maths import *
from tdsl.methods import clone as clone
from tdsl.outs import wrap_functions
from tdsl.products import *
from tdsl.random import *
from tdsl.reductions import *
from tdsl.runtime.threads import get_num_threads as get_num_threads
from tdsl.runtime.threads import set_num_threads as set_num_threads
from tdsl.scans import *
from tdsl.scattering import *
from tdsl.sets import *
from tdsl.shapes import *
from tdsl.sorting import *
from tdsl.statistics import *
from tdsl.tensor import Device as Device
from tdsl.tensor import MemoryFormat as MemoryFormat
from tdsl.tensor import Size as Size
from tdsl.tensor import Tensor as Tensor
from tdsl.tensor import channels_last as channels_last
from tdsl.tensor import channels_last_3d as channels_last_3d
from tdsl.tensor import contiguous_format as contiguous_format
from tdsl.tensor import preserve_format as preserve_format
from tdsl.tensor import strided_layout as strided_layout

dtype, device, promote_types = DType, Device, promote
float32 = float = f32
float64 = double = f64
int64 = long = i64
int32 = int = i32
float16 = half = f16
bfloat16 = bf16
int16 = short = i16
int8 = i8
uint8 = u8
bool = bool_
__version__ = "0.1.0"

memory_format, strided = MemoryFormat, strided_layout
_ROOMS = """arrangements copies creation einsum elementwise formulas gathering histograms maths products random
            reductions scans scattering sets shapes sorting statistics"""
for _room in _ROOMS.split():
    wrap_functions(globals(), import_module(f"tdsl.{_room}").__all__)

_LAZY = (
    "amp",
    "autograd",
    "backends",
    "cuda",
    "distributions",
    "func",
    "inspection",
    "linalg",
    "masked",
    "nn",
    "optim",
    "return_types",
    "signal",
    "special",
    "utils",
)
_OF_ENVIRONMENT = (
    "autocast", "are_deterministic_algorithms_enabled", "get_default_device", "get_float32_matmul_precision",
    "get_num_interop_threads", "is_complex", "is_conj", "is_neg", "is_nonzero", "is_signed", "is_storage",
    "set_default_device", "set_default_tensor_type", "set_float32_matmul_precision", "set_flush_denormal",
    "set_num_interop_threads", "set_printoptions", "typename", "use_deterministic_algorithms",
)  # fmt: skip
_LAZY_NAMES = {
    "compile": ("tdsl.capture.compiled", "compile"),
    "ir": ("tdsl.inspection", "ir"),
    "explain_compiles": ("tdsl.inspection", "explain_compiles"),
    **{
        f"{name}_window": ("tdsl.signal.windows", f"{name}_window")
        for name in ("bartlett", "blackman", "hamming", "hann", "kaiser")
    },
    **{
        f"{name}Tensor": ("tdsl.environment", f"{name}Tensor")
        for name in ("Float", "Double", "Long", "Int", "Bool", "Byte")
    },
    **{name: ("tdsl.environment", name) for name in _OF_ENVIRONMENT},
    "index": ("tdsl.lang.index", "index"),
    "load": ("tdsl.saving", "load"),
    "vmap": ("tdsl.func", "vmap"),
    "save": ("tdsl.saving", "save"),
    "save_safetensors": ("tdsl.saving", "save_safetensors"),
    "load_safetensors": ("tdsl.saving", "load_safetensors"),
}


# PyTorch has these at its top level, too.
_OF_FUNCTIONAL = frozenset(
    """
    adaptive_avg_pool1d adaptive_max_pool1d affine_grid alpha_dropout avg_pool1d batch_norm bilinear
    binary_cross_entropy_with_logits celu celu_ channel_shuffle conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d cosine_embedding_loss cosine_similarity ctc_loss dropout embedding embedding_bag
    feature_alpha_dropout grid_sample group_norm hardshrink hinge_embedding_loss instance_norm kl_div layer_norm
    margin_ranking_loss max_pool1d max_pool1d_with_indices max_pool2d max_pool3d native_batch_norm native_group_norm
    native_layer_norm pairwise_distance pdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu relu_ rms_norm rrelu
    rrelu_ selu selu_ threshold threshold_ triplet_margin_loss
    """.split()
)


_OF_LINALG = frozenset(
    """
    cholesky cholesky_inverse cholesky_solve det geqrf inverse logdet lu lu_solve lu_unpack matrix_exp matrix_power
    orgqr
    ormqr pinverse qr slogdet svd triangular_solve
    """.split()
)


def __getattr__(name: str) -> Any:
    """Rooms that cost time to import come when they are first used."""
    if name in _LAZY:
        return import_module(f"tdsl.{name}")
    if name in _LAZY_NAMES:
        module, attribute = _LAZY_NAMES[name]
        return getattr(import_module(module), attribute)
    if name.endswith("_") and not name.startswith("_") and hasattr(Tensor, name):
        return getattr(Tensor, name)
    if name in _OF_LINALG:
        return getattr(import_module("tdsl.linalg.older"), name)
    if name in _OF_FUNCTIONAL:
        return getattr(import_module("tdsl.nn.functional"), name)
    raise AttributeError(f"module 'tdsl' has no attribute {name!r}")
