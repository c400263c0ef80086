"""Files of tensors: `save` and `load`, safetensors, and PyTorch's own files read without running anything in them."""

from tdsl.saving.errors import FileError, RefusedGlobal
from tdsl.saving.files import load, save
from tdsl.saving.safetensors import load_safetensors, save_safetensors

__all__ = ["FileError", "RefusedGlobal", "load", "load_safetensors", "save", "save_safetensors"]
