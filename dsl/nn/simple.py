"""Layers that are one function each: activations, losses, dropout, padding, pooling, shuffles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl.compiler.source import TypeError, ValueError
from tdsl.creation import full
from tdsl.nn import functional as F
from tdsl.nn.module import Module
from tdsl.nn.parameter import Parameter
from tdsl.nn.windows import per_dimension
from tdsl.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AlphaDropout", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BCELoss", "BCEWithLogitsLoss",
    "CELU", "CTCLoss", "ChannelShuffle", "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d",
    "ConstantPad2d", "ConstantPad3d", "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "Dropout",
    "Dropout1d", "Dropout2d", "Dropout3d", "ELU", "FeatureAlphaDropout", "Fold", "FractionalMaxPool2d",
    "FractionalMaxPool3d", "GELU", "GLU", "GaussianNLLLoss", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LPPool1d", "LPPool2d", "LPPool3d", "LeakyReLU",
    "LocalResponseNorm", "LogSigmoid", "LogSoftmax", "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d",
    "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Mish", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "PReLU", "PairwiseDistance", "PixelShuffle",
    "PixelUnshuffle", "PoissonNLLLoss", "RReLU", "ReLU", "ReLU6", "ReflectionPad1d", "ReflectionPad2d",
    "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "SELU", "SiLU", "Sigmoid",
    "SmoothL1Loss", "SoftMarginLoss", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh",
    "Tanhshrink", "Threshold", "TripletMarginLoss", "TripletMarginWithDistanceLoss", "Unfold", "Upsample",
    "UpsamplingBilinear2d", "UpsamplingNearest2d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip

REQUIRED = object()
Layer = Any


def _bound(name: str, defaults: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The options by name, as Python would bind them."""
    if len(args) > len(defaults):
        raise TypeError(
            f"{name}.__init__() takes {len(defaults) + 1} positional arguments but {len(args) + 1} were given"
        )
    given = dict(zip(defaults, args, strict=False))
    for key, value in kwargs.items():
        if key not in defaults:
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument {key!r}")
        if key in given:
            raise TypeError(f"{name}.__init__() got multiple values for argument {key!r}")
        given[key] = value
    missing = [k for k, v in defaults.items() if v is REQUIRED and k not in given]
    if missing:
        raise TypeError(f"{name}.__init__() missing {len(missing)} required positional argument: {missing[0]!r}")
    return {**defaults, **given}


def _layer(name: str, function: Callable[..., Tensor], shown: str = "", hidden: str = "", **defaults: Any) -> Layer:
    """A class whose forward is `function(input, **options)`; `shown` are the options of its repr."""
    unseen, listed = hidden.split(), shown.split()

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        for key, value in _bound(name, defaults, args, kwargs).items():
            setattr(self, key, value)

    def forward(self: Any, input: Tensor) -> Tensor:
        return function(input, **{k: getattr(self, k) for k in defaults if k not in unseen})

    def extra_repr(self: Any) -> str:
        always = [f"{k}={getattr(self, k)!r}" for k in listed]
        if "inplace" in defaults and "inplace" not in listed and self.inplace:
            always.append("inplace=True")
        return ", ".join(always)

    body = {"__init__": __init__, "forward": forward, "extra_repr": extra_repr, "__doc__": function.__doc__}
    return type(name, (Module,), {**body, "__module__": __name__})


# ---- activations

ReLU = _layer("ReLU", F.relu, inplace=False)
ReLU6 = _layer("ReLU6", F.relu6, inplace=False)
GELU = _layer("GELU", F.gelu, "approximate", approximate="none")
Tanh, Sigmoid, LogSigmoid = _layer("Tanh", F.tanh), _layer("Sigmoid", F.sigmoid), _layer("LogSigmoid", F.logsigmoid)
SiLU, Mish = _layer("SiLU", F.silu, inplace=False), _layer("Mish", F.mish, inplace=False)
ELU = _layer("ELU", F.elu, "alpha", alpha=1.0, inplace=False)
CELU = _layer("CELU", F.celu, "alpha", alpha=1.0, inplace=False)
SELU = _layer("SELU", F.selu, inplace=False)
LeakyReLU = _layer("LeakyReLU", F.leaky_relu, "negative_slope", negative_slope=0.01, inplace=False)
Hardtanh = _layer("Hardtanh", F.hardtanh, "min_val max_val", min_val=-1.0, max_val=1.0, inplace=False)
Hardswish = _layer("Hardswish", F.hardswish, inplace=False)
Hardsigmoid = _layer("Hardsigmoid", F.hardsigmoid, inplace=False)
Hardshrink = _layer("Hardshrink", F.hardshrink, "lambd", lambd=0.5)
Softshrink = _layer("Softshrink", F.softshrink, "lambd", lambd=0.5)
Tanhshrink, Softsign = _layer("Tanhshrink", F.tanhshrink), _layer("Softsign", F.softsign)
Softplus = _layer("Softplus", F.softplus, "beta threshold", beta=1.0, threshold=20.0)
Threshold = _layer("Threshold", F.threshold, "threshold value", threshold=REQUIRED, value=REQUIRED, inplace=False)
Softmax = _layer("Softmax", F.softmax, "dim", dim=None)
Softmin = _layer("Softmin", F.softmin, "dim", dim=None)
LogSoftmax = _layer("LogSoftmax", F.log_softmax, "dim", dim=None)
GLU = _layer("GLU", F.glu, "dim", dim=-1)


def _softmax2d(input: Tensor) -> Tensor:
    """softmax over the channels of (N, C, H, W) or (C, H, W)."""
    if input.ndim not in (3, 4):
        raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
    return F.softmax(input, -3)


Softmax2d = _layer("Softmax2d", _softmax2d)


class RReLU(Module):
    """leaky_relu with random slopes while training."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """Below 0 times a learned slope."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters  # type: ignore[assignment,method-assign]
        self.init = init
        self.weight = Parameter(full((num_parameters,), float(init), dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


# ---- dropout


def _dropout(name: str, function: Callable[..., Tensor]) -> Layer:
    def __init__(self: Any, p: float = 0.5, inplace: bool = False) -> None:
        Module.__init__(self)
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self: Any, input: Tensor) -> Tensor:
        return function(input, self.p, self.training, self.inplace)

    def extra_repr(self: Any) -> str:
        return f"p={self.p}, inplace={self.inplace}"

    body = {"__init__": __init__, "forward": forward, "extra_repr": extra_repr, "__doc__": function.__doc__}
    return type(name, (Module,), {**body, "__module__": __name__})


Dropout, Dropout1d = _dropout("Dropout", F.dropout), _dropout("Dropout1d", F.dropout1d)
Dropout2d, Dropout3d = _dropout("Dropout2d", F.dropout2d), _dropout("Dropout3d", F.dropout3d)
AlphaDropout = _dropout("AlphaDropout", F.alpha_dropout)
FeatureAlphaDropout = _dropout("FeatureAlphaDropout", F.feature_alpha_dropout)

# ---- losses


def _loss(name: str, function: Callable[..., Tensor], inputs: int = 2, **defaults: Any) -> Layer:
    """A class whose forward is `function(input, target, ..., **options)`; weights are buffers."""
    older = () if name in _NEWER else ("size_average", "reduce")
    order = [k for k in defaults if k != "reduction"]
    place = _LATE.get(name, 0)
    names = {k: defaults[k] for k in order[:place]}
    if older:
        names |= {"size_average": None}
        names |= {k: defaults[k] for k in order[place : _AFTER.get(name, place)]}
        names |= {"reduce": None}
    names |= {"reduction": defaults.get("reduction", "mean")}
    names |= {k: v for k, v in defaults.items() if k not in names}

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        options = _bound(name, names, args, kwargs)
        if older:
            average, reduce = options.pop("size_average"), options.pop("reduce")
            if average is not None or reduce is not None:
                both = (average is not False, reduce is not False)
                options["reduction"] = "none" if not both[1] else "mean" if both[0] else "sum"
        for key, value in options.items():
            if key in ("weight", "pos_weight"):
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)

    def forward(self: Any, *given: Tensor) -> Tensor:
        return function(*given, **{k: getattr(self, k) for k in defaults})

    body = {"__init__": __init__, "forward": forward, "__doc__": function.__doc__, "__module__": __name__}
    return type(name, (Module,), body)


_NEWER = ("HuberLoss", "GaussianNLLLoss", "CTCLoss", "TripletMarginWithDistanceLoss")
# how many options come before size_average, and before reduce, in PyTorch's constructors
_LATE = {"NLLLoss": 1, "CrossEntropyLoss": 1, "BCELoss": 1, "BCEWithLogitsLoss": 1, "PoissonNLLLoss": 2,
         "MarginRankingLoss": 1, "HingeEmbeddingLoss": 1, "MultiLabelSoftMarginLoss": 1, "MultiMarginLoss": 3,
         "CosineEmbeddingLoss": 1, "TripletMarginLoss": 4, "HuberLoss": 0}  # fmt: skip
_AFTER = {"NLLLoss": 2, "CrossEntropyLoss": 2, "PoissonNLLLoss": 3}

MSELoss, L1Loss = _loss("MSELoss", F.mse_loss, reduction="mean"), _loss("L1Loss", F.l1_loss, reduction="mean")
SmoothL1Loss = _loss("SmoothL1Loss", F.smooth_l1_loss, reduction="mean", beta=1.0)
HuberLoss = _loss("HuberLoss", F.huber_loss, reduction="mean", delta=1.0)
NLLLoss = _loss("NLLLoss", F.nll_loss, weight=None, ignore_index=-100, reduction="mean")
CrossEntropyLoss = _loss(
    "CrossEntropyLoss", F.cross_entropy, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
)
BCELoss = _loss("BCELoss", F.binary_cross_entropy, weight=None, reduction="mean")
BCEWithLogitsLoss = _loss(
    "BCEWithLogitsLoss", F.binary_cross_entropy_with_logits, weight=None, reduction="mean", pos_weight=None
)
KLDivLoss = _loss("KLDivLoss", F.kl_div, reduction="mean", log_target=False)
PoissonNLLLoss = _loss("PoissonNLLLoss", F.poisson_nll_loss, log_input=True, full=False, eps=1e-8, reduction="mean")
GaussianNLLLoss = _loss("GaussianNLLLoss", F.gaussian_nll_loss, full=False, eps=1e-6, reduction="mean")
HingeEmbeddingLoss = _loss("HingeEmbeddingLoss", F.hinge_embedding_loss, margin=1.0, reduction="mean")
MarginRankingLoss = _loss("MarginRankingLoss", F.margin_ranking_loss, margin=0.0, reduction="mean")
CosineEmbeddingLoss = _loss("CosineEmbeddingLoss", F.cosine_embedding_loss, margin=0.0, reduction="mean")
SoftMarginLoss = _loss("SoftMarginLoss", F.soft_margin_loss, reduction="mean")
MultiLabelSoftMarginLoss = _loss(
    "MultiLabelSoftMarginLoss", F.multilabel_soft_margin_loss, weight=None, reduction="mean"
)
MultiLabelMarginLoss = _loss("MultiLabelMarginLoss", F.multilabel_margin_loss, reduction="mean")
MultiMarginLoss = _loss("MultiMarginLoss", F.multi_margin_loss, p=1, margin=1.0, weight=None, reduction="mean")
TripletMarginLoss = _loss(
    "TripletMarginLoss", F.triplet_margin_loss, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean"
)
CTCLoss = _loss("CTCLoss", F.ctc_loss, blank=0, reduction="mean", zero_infinity=False)


class TripletMarginWithDistanceLoss(Module):
    """triplet_margin_loss with a distance of one's own."""

    def __init__(
        self, *, distance_function: Any = None, margin: float = 1.0, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function, self.margin, self.swap, self.reduction = distance_function, margin, swap, reduction

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip


# ---- distances


class CosineSimilarity(Module):
    """The cosine of the angle along a dimension."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of the difference over the last dimension."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


# ---- pooling


def _pool(kind: str, rank: int) -> Layer:
    name = f"{kind}Pool{rank}d"
    if kind == "Max":
        return _layer(
            name, getattr(F, f"max_pool{rank}d"), "kernel_size stride padding dilation ceil_mode", "",
            kernel_size=REQUIRED, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False,
        )  # fmt: skip
    if kind == "Avg":
        more = {} if rank == 1 else {"divisor_override": None}
        return _layer(
            name, getattr(F, f"avg_pool{rank}d"), "kernel_size stride padding", "", kernel_size=REQUIRED, stride=None,
            padding=0, ceil_mode=False, count_include_pad=True, **more,
        )  # fmt: skip
    return _layer(
        name, getattr(F, f"lp_pool{rank}d"), "norm_type kernel_size stride ceil_mode", "", norm_type=REQUIRED,
        kernel_size=REQUIRED, stride=None, ceil_mode=False,
    )  # fmt: skip


def _with_stride(cls: Layer) -> Layer:
    """PyTorch shows the stride that is used: the window's size where none is given."""
    init = cls.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if self.stride is None:
            self.stride = self.kernel_size
        if cls.__name__ == "AvgPool1d":  # the one pooling layer that keeps tuples
            for name in ("kernel_size", "stride", "padding"):
                setattr(self, name, per_dimension(getattr(self, name), 1))

    cls.__init__ = __init__
    return cls


MaxPool1d, MaxPool2d, MaxPool3d = (_with_stride(_pool("Max", r)) for r in (1, 2, 3))
AvgPool1d, AvgPool2d, AvgPool3d = (_with_stride(_pool("Avg", r)) for r in (1, 2, 3))
LPPool1d, LPPool2d, LPPool3d = (_pool("LP", r) for r in (1, 2, 3))
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = (
    _layer(f"AdaptiveAvgPool{r}d", getattr(F, f"adaptive_avg_pool{r}d"), "output_size", output_size=REQUIRED)
    for r in (1, 2, 3)
)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = (
    _layer(
        f"AdaptiveMaxPool{r}d", getattr(F, f"adaptive_max_pool{r}d"), "output_size", output_size=REQUIRED,
        return_indices=False,
    )
    for r in (1, 2, 3)
)  # fmt: skip


class _MaxUnpool(Module):
    rank = 0

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = per_dimension(kernel_size, self.rank)
        self.stride = self.kernel_size if stride is None else per_dimension(stride, self.rank)
        self.padding = per_dimension(padding, self.rank)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        function = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.rank - 1]
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    rank = 1


class MaxUnpool2d(_MaxUnpool):
    rank = 2


class MaxUnpool3d(_MaxUnpool):
    rank = 3


FractionalMaxPool2d, FractionalMaxPool3d = (
    _layer(
        f"FractionalMaxPool{r}d", getattr(F, f"fractional_max_pool{r}d"), "", "", kernel_size=REQUIRED,
        output_size=None, output_ratio=None, return_indices=False, _random_samples=None,
    )
    for r in (2, 3)
)  # fmt: skip

# ---- padding


def _padding(kind: str, rank: int) -> Layer:
    mode = {"Constant": "constant", "Zero": "constant", "Reflection": "reflect", "Replication": "replicate",
            "Circular": "circular"}[kind]  # fmt: skip

    def __init__(self: Any, padding: Any, value: float = 0.0) -> None:
        Module.__init__(self)
        self.padding = (padding,) * (2 * rank) if isinstance(padding, int) else tuple(padding)
        if kind == "Constant":
            self.value = value

    def forward(self: Any, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, mode, self.value if kind == "Constant" else None)

    def extra_repr(self: Any) -> str:
        tail = f", value={self.value}" if kind == "Constant" else ""
        return (f"padding={self.padding}" if kind == "Constant" else f"{self.padding}") + tail

    body = {"__init__": __init__, "forward": forward, "extra_repr": extra_repr, "__doc__": f"Padding: {mode}."}
    return type(f"{kind}Pad{rank}d", (Module,), {**body, "__module__": __name__})


ConstantPad1d, ConstantPad2d, ConstantPad3d = (_padding("Constant", r) for r in (1, 2, 3))
ZeroPad1d, ZeroPad2d, ZeroPad3d = (_padding("Zero", r) for r in (1, 2, 3))
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (_padding("Reflection", r) for r in (1, 2, 3))
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (_padding("Replication", r) for r in (1, 2, 3))
CircularPad1d, CircularPad2d, CircularPad3d = (_padding("Circular", r) for r in (1, 2, 3))

# ---- rearranging

PixelShuffle = _layer("PixelShuffle", F.pixel_shuffle, "upscale_factor", upscale_factor=REQUIRED)
PixelUnshuffle = _layer("PixelUnshuffle", F.pixel_unshuffle, "downscale_factor", downscale_factor=REQUIRED)
ChannelShuffle = _layer("ChannelShuffle", F.channel_shuffle, "groups", groups=REQUIRED)
Fold = _layer(
    "Fold", F.fold, "output_size kernel_size dilation padding stride", output_size=REQUIRED, kernel_size=REQUIRED,
    dilation=1, padding=0, stride=1,
)  # fmt: skip
Unfold = _layer(
    "Unfold", F.unfold, "kernel_size dilation padding stride", kernel_size=REQUIRED, dilation=1, padding=0, stride=1
)


class LocalResponseNorm(Module):
    """Divided by a power of the mean square over `size` neighbouring channels."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class Upsample(Module):
    """Another size by interpolation."""

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = (
            tuple(map(float, scale_factor)) if isinstance(scale_factor, tuple) else
            float(scale_factor) if scale_factor else None
        )  # fmt: skip
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        size = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)
