"""`tdsl.linalg`: linear algebra under PyTorch's names; LAPACK through NumPy, gradients recorded."""

# ruff: noqa: F403

from tdsl.linalg import factors as _factors
from tdsl.linalg import norms as _norms
from tdsl.linalg import solving as _solving
from tdsl.linalg.factors import *
from tdsl.linalg.lapack import LinAlgError as LinAlgError
from tdsl.linalg.norms import *
from tdsl.linalg.solving import *
from tdsl.outs import wrap_functions

inverse = _solving.inv
wrap_functions(globals(), [*_factors.__all__, *_norms.__all__, *_solving.__all__])
