"""Neural networks, under PyTorch's names."""

# The star imports take what each room lists in its __all__: PyTorch's names.
# ruff: noqa: F403

from tdsl.nn import functional as functional
from tdsl.nn import init as init
from tdsl.nn import utils as utils
from tdsl.nn.attention import *
from tdsl.nn.containers import *
from tdsl.nn.layers import *
from tdsl.nn.module import Module as Module
from tdsl.nn.parameter import Buffer as Buffer
from tdsl.nn.parameter import Parameter as Parameter
from tdsl.nn.recurrent import *
from tdsl.nn.simple import *
