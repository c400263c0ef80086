"""Compiled code kept on disk from one process to the next: never wrong, never fatal.

One file a key, and no index: a file is written whole under another name and then renamed, so that a reader finds a
whole file or none. The file says what it was made for, and ends with a digest of all that is before it; what does not
agree with this process in every word is no hit. Whoever may write the folder decides what this process runs, so a
folder that others could write to is not used.

    b"TDSLOBJ1" | length of the header, 4 bytes, little-endian | header, JSON | object code | sha256 of all before
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

log = logging.getLogger("tdsl.cache")

MAGIC = b"TDSLOBJ1"
SUFFIX = ".tdslobj"
SIZE_LIMIT = 512 << 20  # bytes of a folder; the least recently used files go first
_LARGEST = 64 << 20  # bytes of a file
_TOUCHED_AFTER = 3600  # seconds after which a use is noted again
_SWEPT_EVERY = 64  # files written by this process between two looks at the folder's size
_DIGEST = 32


def place() -> Path | None:
    """Where the cache is: TDSL_CACHE_DIR, or the user's cache folder; None: TDSL_CACHE=0 turned it off."""
    if os.environ.get("TDSL_CACHE", "").lower() in ("0", "off", "false", "no"):
        return None
    given = os.environ.get("TDSL_CACHE_DIR")
    if given:
        return Path(given)
    own = os.environ.get("XDG_CACHE_HOME")
    if own and os.path.isabs(own):
        return Path(own) / "tdsl"
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    if not home or not _owned(Path(home)):
        return None  # none, or somebody else's, as under sudo
    return Path(home) / ("Library/Caches/tdsl" if sys.platform == "darwin" else ".cache/tdsl")


def _owned(path: Path) -> bool:
    try:
        return not hasattr(os, "geteuid") or path.stat().st_uid == os.geteuid()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Entry:
    """Object code, and what was said of it when it was stored."""

    about: dict[str, Any]
    code: bytes


class DiskCache:
    """The files of one folder. Every method takes any state of the folder; what fails turns the cache off, once said.

    >>> import tempfile
    >>> cache = DiskCache(Path(tempfile.mkdtemp()) / "kernels", {"cpu": "x"})
    >>> cache.put("a kernel", {"entry": "k0"}, b"code")
    >>> cache.get("a kernel").about["entry"], cache.get("another")
    ('k0', None)
    """

    def __init__(self, folder: Path | None, process: dict[str, str]) -> None:
        self.folder, self.process = folder, process
        self._written = 0
        self._usable: bool | None = None if folder is not None else False

    # ---- the folder

    @property
    def usable(self) -> bool:
        if self._usable is None:
            self._usable = self._open()
        return self._usable

    def _open(self) -> bool:
        folder = self.folder
        assert folder is not None
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unsafe = _unsafe(folder)
        except (OSError, ValueError) as error:
            self._off(f"{folder} cannot be used: {error}")
            return False
        if unsafe:
            self._off(f"{folder} is not used: {unsafe}. Give a folder of your own in TDSL_CACHE_DIR")
            return False
        return True

    def _off(self, why: str) -> None:
        self._usable = False
        warnings.warn(f"tdsl keeps no compiled kernels on disk: {why}", RuntimeWarning, stacklevel=2)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self._digest(key)}{SUFFIX}"

    def _digest(self, key: str) -> str:
        """The name of a key's file: of the key and of everything about the process that compiled code depends on."""
        text = json.dumps([key, sorted(self.process.items())])
        return hashlib.sha256(text.encode()).hexdigest()

    # ---- reading

    def get(self, key: str) -> Entry | None:
        """What was stored under the key, if it is whole and was made for a process like this one."""
        if not self.usable:
            return None
        path = self._path(key)
        try:
            data = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.debug("%s is not read: %s", path, error)
            return None
        entry = self._parsed(path, data, key)
        if entry is not None:
            _touch(path)
        return entry

    def _parsed(self, path: Path, data: bytes, key: str) -> Entry | None:
        start = len(MAGIC) + 4
        if len(data) < start + _DIGEST or not data.startswith(MAGIC):
            log.debug("%s is no cached kernel", path)
            return None
        if hashlib.sha256(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
            log.debug("%s is damaged", path)
            return None
        (length,) = struct.unpack("<I", data[len(MAGIC) : start])
        try:
            header = json.loads(data[start : start + length])
            about, code = header["about"], data[start + length : -_DIGEST]
        except (ValueError, KeyError, TypeError):
            log.debug("%s has no header", path)
            return None
        if header.get("key") != key or header.get("process") != self.process or header.get("size") != len(code):
            log.debug("%s was made for something else", path)
            return None
        return Entry(about, code)

    # ---- writing

    def put(self, key: str, about: dict[str, Any], code: bytes) -> None:
        """Store code; a failure is said once, and nothing is stored from then on."""
        if not self.usable:
            return
        header = {"key": key, "process": self.process, "size": len(code), "about": about}
        text = json.dumps(header).encode()
        data = MAGIC + struct.pack("<I", len(text)) + text + code
        try:
            _replace(self._path(key), data + hashlib.sha256(data).digest())
        except OSError as error:
            self._off(str(error))
            return
        self._written += 1
        if self._written % _SWEPT_EVERY == 1:
            self.sweep()

    def sweep(self, limit: int = SIZE_LIMIT) -> None:
        """Delete the least recently used files beyond the limit, and what writers left that were killed."""
        found = sorted(self._files(), key=lambda f: f[1])
        total = sum(size for _, _, size in found)
        for path, used, size in found:
            left_over = path.suffix != SUFFIX
            if left_over and time.time() - used > _TOUCHED_AFTER or not left_over and total > limit:
                _remove(path)
                total -= size

    # ---- for people

    def _files(self) -> Iterator[tuple[Path, float, int]]:
        if not self.usable or self.folder is None:
            return
        try:
            with os.scandir(self.folder) as entries:
                for e in entries:
                    if e.name.endswith((SUFFIX, ".part")) and e.is_file(follow_symlinks=False):
                        about = e.stat(follow_symlinks=False)
                        yield Path(e.path), about.st_mtime, about.st_size
        except OSError as error:
            log.debug("%s is not listed: %s", self.folder, error)

    def info(self) -> tuple[int, int]:
        """How many files there are, and their bytes."""
        sizes = [size for path, _, size in self._files() if path.suffix == SUFFIX]
        return len(sizes), sum(sizes)

    def clear(self) -> int:
        """Delete every file that is the cache's; how many there were."""
        found = [path for path, _, _ in self._files()]
        return sum(_remove(path) for path in found)


def _unsafe(folder: Path) -> str:
    """Why code from the folder is not to be run; empty: it may be."""
    about = os.lstat(folder)
    if stat.S_ISLNK(about.st_mode):
        return "it is a link"
    if not stat.S_ISDIR(about.st_mode):
        return "it is no folder"
    if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
        return "it is somebody else's"
    if os.name == "posix" and about.st_mode & 0o022:
        return "others may write to it"
    return ""


def _read(path: Path) -> bytes:
    """The file in one piece: what was checked is what is used."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(file, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            raise OSError("it is no file of the cache")
        return stream.read()


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, whatever interrupts."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.{secrets.token_hex(4)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    done = False
    try:
        with os.fdopen(os.open(part, flags, 0o600), "wb") as stream:
            stream.write(data)
        os.replace(part, path)
        done = True
    finally:
        if not done:
            _remove(part)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _touch(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > _TOUCHED_AFTER:
            os.utime(path)
    except OSError:
        pass  # somebody deleted it meanwhile, or it may be read only


@cache
def sources() -> str:
    """A digest of the code that compiles: another version of it is another cache."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in (Path(sys.modules["tdsl.compiler"].__file__ or root).parent, Path(__file__).parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(str(path.relative_to(package)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
