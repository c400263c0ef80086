"""Functions of neural networks under PyTorch's names: this room gathers those of its neighbours."""

# The star imports take what each room lists in its __all__: PyTorch's names.
# ruff: noqa: F403

from tdsl.nn.activations import *
from tdsl.nn.adaptive import *
from tdsl.nn.convolution import *
from tdsl.nn.embeddings import *
from tdsl.nn.grids import *
from tdsl.nn.heads import *
from tdsl.nn.linear import *
from tdsl.nn.losses import *
from tdsl.nn.normalization import *
from tdsl.nn.patches import *
from tdsl.nn.pooling import *
from tdsl.nn.resizing import *
