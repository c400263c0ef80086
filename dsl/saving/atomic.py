"""Files that are replaced as a whole: whoever reads one sees the old or the new, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def writing(target: Any) -> Iterator[IO[bytes]]:
    """A binary file to write `target` through: a file beside it that takes its place at the end, or `target` itself
    where that is a file object. After an error the old file is as it was."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = Path(os.path.realpath(target))  # what a link points to is replaced, not the link
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            yield file
        return
    beside = path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with open(beside, "xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            with suppress(OSError):
                beside.unlink()
            raise
    if path.exists():
        with suppress(OSError):
            beside.chmod(path.stat().st_mode & 0o7777)
    os.replace(beside, path)
