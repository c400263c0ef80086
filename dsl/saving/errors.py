"""What is wrong with a file."""

from __future__ import annotations

import builtins
import pickle

from tdsl.compiler.source import TdslError


class FileError(TdslError, builtins.RuntimeError):
    """A file that is damaged, or of no format that is read here."""

    code = "E0705"


class RefusedGlobal(FileError, pickle.UnpicklingError):
    """A file that asks for something to be called which only data needs not."""

    code = "E0706"
