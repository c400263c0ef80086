"""The disk cache: a second process compiles nothing, and no state of the folder is wrong, fatal or believed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from tdsl.cli import main
from tdsl.runtime import jit
from tdsl.runtime.disk_cache import MAGIC, SUFFIX, DiskCache, place

PROGRAM = """
import tdsl
from tdsl.runtime import dispatch
x = tdsl.tensor([[1.0, 2.0, 3.0]] * 8, requires_grad=True)
w = tdsl.ones(3, 64, requires_grad=True)
y = ((x.sin() * x) @ w.expand(3, 64)).relu().sum()
y.backward()
k = dispatch._kernels
print(float(y), x.grad.tolist()[0], k.compiled, k.from_disk)
"""


def run(folder: Path | str, **environment: str) -> tuple[str, int, int, str]:
    """The result, kernels loaded, kernels from disk, and what was said."""
    env = {**os.environ, "TDSL_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result, loaded, kept = done.stdout.rsplit(maxsplit=2)
    return result, int(loaded), int(kept), done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    folder = tmp_path_factory.mktemp("cached") / "deep" / "kernels"
    result, loaded, kept, said = run(folder)
    assert loaded > 0 and kept == 0 and said == ""
    return folder, result, loaded


def test_a_second_process_compiles_nothing(filled: tuple[Path, str, int]) -> None:
    folder, result, loaded = filled
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run(folder)[:3] == (result, loaded, loaded)


def test_damaged_files_are_compiled_again(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    """Truncated, a bit turned, empty, another's, no header: each is a miss, and is replaced by a whole file."""
    folder, result, loaded = filled
    copy = tmp_path / "kernels"
    copy.mkdir(mode=0o700)
    files = sorted(folder.glob(f"*{SUFFIX}"))
    for at, file in enumerate(files):
        data = file.read_bytes()
        turned = bytearray(data)
        turned[len(data) // 2] ^= 4
        other = files[at - 1].read_bytes()  # whole, and made for another key
        broken = (data[: len(data) // 2], bytes(turned), b"", other, MAGIC + b"\xff" * 60)[at % 5]
        (copy / file.name).write_bytes(broken)
    assert run(copy)[:3] == (result, loaded, 0)
    assert run(copy)[:3] == (result, loaded, loaded)


def test_another_machine_or_version_is_another_key(tmp_path: Path) -> None:
    here = DiskCache(tmp_path / "k", {"cpu": "znver4", "code": "1"})
    here.put("kernel", {"entry": "k0"}, b"object")
    assert here.get("kernel") is not None
    for other in ({"cpu": "skylake", "code": "1"}, {"cpu": "znver4", "code": "2"}):
        cache = DiskCache(tmp_path / "k", other)
        assert cache.get("kernel") is None
        # even under the very name that this process would give it
        os.replace(*(c._path("kernel") for c in (here, cache)))
        assert cache.get("kernel") is None
        here.put("kernel", {"entry": "k0"}, b"object")


def test_turned_off_and_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "with spaces, ünïcode\nand a line"
    monkeypatch.setenv("TDSL_CACHE_DIR", str(folder))
    assert place() == folder
    assert run(folder)[1] > 0 and len(list(folder.iterdir())) > 0
    monkeypatch.setenv("TDSL_CACHE", "0")
    assert place() is None
    assert run(tmp_path / "unused", TDSL_CACHE="0")[2:] == (0, "")
    assert not (tmp_path / "unused").exists()
    monkeypatch.delenv("TDSL_CACHE")
    monkeypatch.delenv("TDSL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place() == tmp_path / "tdsl"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert place() is None  # a home that is not there


def test_unsafe_folders_are_refused_with_one_warning(tmp_path: Path) -> None:
    shared, link, file = tmp_path / "shared", tmp_path / "link", tmp_path / "file"
    shared.mkdir()
    shared.chmod(0o777)
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    link.symlink_to(own)
    file.write_text("mine")
    reasons = {shared: "others may write", link: "is a link", file: "is no folder", file / "below": "cannot be used"}
    for folder, reason in reasons.items():
        _, loaded, kept, said = run(folder)
        assert loaded > 0 and kept == 0
        assert said.count("RuntimeWarning") == 1 and reason in said
    assert list(shared.iterdir()) == [] and list(own.iterdir()) == []


def test_links_and_pipes_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "k", {"cpu": "x"})
    cache.put("kernel", {}, b"object")
    path = cache._path("kernel")
    elsewhere = tmp_path / "elsewhere"
    os.replace(path, elsewhere)
    path.symlink_to(elsewhere)
    assert cache.get("kernel") is None
    path.unlink()
    os.mkfifo(path)
    assert cache.get("kernel") is None  # and does not wait for a writer


def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path / "k", {"cpu": "x"})
    cache.put("first", {}, b"object")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tdsl.runtime.disk_cache.os.replace", full)
    with pytest.warns(RuntimeWarning, match="No space left") as said:
        cache.put("second", {}, b"object")
        cache.put("third", {}, b"object")
    assert len(said) == 1 and not list((tmp_path / "k").glob("*.part"))


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path / "k", {"cpu": "x"})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tdsl.runtime.disk_cache.os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.put("kernel", {}, b"object")
    assert list((tmp_path / "k").iterdir()) == []
    cache.put("kernel", {}, b"object")
    assert cache.get("kernel") is not None


def test_writers_readers_and_deleters_at_once(tmp_path: Path) -> None:
    """Every read gives a whole file or none."""
    caches = [DiskCache(tmp_path / "k", {"cpu": "x"}) for _ in range(4)]
    code = [hashlib.sha256(bytes([n])).digest() * 300 for n in range(2)]
    seen: list[bytes] = []
    stop = time.monotonic() + 1.0

    def write(n: int) -> None:
        while time.monotonic() < stop:
            caches[n].put("kernel", {"n": n}, code[n])

    def read() -> None:
        while time.monotonic() < stop:
            found = caches[2].get("kernel")
            if found is not None:
                assert found.code == code[found.about["n"]]
                seen.append(found.code)

    def delete() -> None:
        while time.monotonic() < stop:
            caches[3].clear()

    threads = [threading.Thread(target=t) for t in (lambda: write(0), lambda: write(1), read, delete)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a part that was deleted under its writer is said, and is no fault
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert set(seen) <= set(code)


def test_processes_at_once(tmp_path: Path) -> None:
    env = {**os.environ, "TDSL_CACHE_DIR": str(tmp_path / "k")}
    started = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE, text=True)
               for _ in range(3)]  # fmt: skip
    results = {p.communicate(timeout=120)[0].rsplit(maxsplit=2)[0] for p in started}
    assert len(results) == 1 and all(p.returncode == 0 for p in started)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "k", {"cpu": "x"})
    for n in range(6):
        cache.put(str(n), {}, b"x" * 1000)
        os.utime(cache._path(str(n)), (n, n))
    left_over = tmp_path / "k" / "dead.1.part"
    left_over.write_bytes(b"half")
    os.utime(left_over, (1, 1))
    size = cache._path("0").stat().st_size
    cache.sweep(3 * size)
    assert [cache.get(str(n)) is not None for n in range(6)] == [False] * 3 + [True] * 3
    assert not left_over.exists()


def test_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jit, "on_disk", lambda: cache)
    cache = DiskCache(tmp_path / "k", {"cpu": "x"})
    cache.put("kernel", {}, b"object")
    assert main(["cache", "path"]) == 0 and capsys.readouterr().out.strip() == str(tmp_path / "k")
    assert main(["cache", "info"]) == 0 and "1 kernels" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0 and "deleted 1 files" in capsys.readouterr().out
    assert cache.info() == (0, 0)
