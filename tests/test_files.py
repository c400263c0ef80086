"""Files: what is saved comes back; PyTorch's are read, and nothing in them runs; damaged ones are refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import stat
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl.saving import FileError, RefusedGlobal

DTYPES = [tdsl.bool, tdsl.uint8, tdsl.int8, tdsl.int16, tdsl.int32, tdsl.int64, tdsl.float32, tdsl.float64]


def back(obj: Any) -> Any:
    file = io.BytesIO()
    tdsl.save(obj, file)
    file.seek(0)
    return tdsl.load(file)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tdsl.Tensor):
        return type(a) is type(b) and a.dtype is b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a and b != b)


def test_objects_come_back() -> None:
    tensors = [tdsl.arange(6).reshape(2, 3).to(d) for d in DTYPES]
    obj = {
        "tensors": tensors, "empty": tdsl.empty(0, 3), "number": tdsl.tensor(2.5), "none": None,
        "plain": [1, -(2**70), 2.5, True, "täxt\0", float("inf"), float("nan"), 1e-310], 3: (1, (2,)),
        (1, "a"): {1, 2}, "ordered": OrderedDict(b=1, a=2), "counter": Counter({2: 3}), "dtype": tdsl.float64,
        "size": tdsl.Size([2, 3]), "bytes": b"\0\xff", "bytearray": bytearray(b"x"), "frozen": frozenset({1}),
        "array": np.arange(4.0).reshape(2, 2), "scalar": np.float32(0.1), "a key": {"tensor": "no tensor"},
    }  # fmt: skip
    assert same(obj, back(obj))
    assert back(tdsl.device("cpu")) == tdsl.device("cpu")


def test_memory_and_objects_are_shared_again() -> None:
    x = tdsl.arange(6.0).reshape(2, 3)
    w = tdsl.nn.Parameter(tdsl.ones(2))
    leaf = tdsl.ones(2, requires_grad=True)
    got = back({"x": x, "t": x.t(), "row": x[1], "every": x[:, ::2], "w": w, "again": w, "leaf": leaf, "y": leaf * 2})
    got["x"][1] = 9.0
    assert got["t"].tolist() == [[0, 9], [1, 9], [2, 9]] and got["row"].tolist() == [9, 9, 9]
    assert got["every"].tolist() == [[0, 2], [9, 9]] and got["t"].stride() == (1, 3)
    assert got["w"] is got["again"] and isinstance(got["w"], tdsl.nn.Parameter) and got["w"].requires_grad
    assert got["leaf"].requires_grad and got["leaf"].is_leaf and not got["y"].requires_grad
    got["leaf"].sum().backward()
    assert got["leaf"].grad.tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_training_goes_on(kind: str, tmp_path: Path) -> None:
    def make() -> tuple[Any, Any, Any]:
        tdsl.manual_seed(0)
        model = tdsl.nn.Sequential(tdsl.nn.Linear(3, 4), tdsl.nn.BatchNorm1d(4), tdsl.nn.Linear(4, 1))
        opt = getattr(tdsl.optim, kind)(model.parameters(), lr=0.1, **({"momentum": 0.9} if kind == "SGD" else {}))
        return model, opt, tdsl.optim.lr_scheduler.MultiStepLR(opt, [1, 3])

    def train(model: Any, opt: Any, scheduler: Any) -> float:
        for k in range(2):
            opt.zero_grad()
            loss = (model(tdsl.linspace(-1, 1, 12).reshape(4, 3) + k) ** 2).mean()
            loss.backward()
            opt.step()
            scheduler.step()
        return float(loss)

    first = make()
    train(*first)
    path = tmp_path / "state.pt"
    tdsl.save([x.state_dict() for x in first], path)
    second = make()
    for x, state in zip(second, tdsl.load(path), strict=True):
        x.load_state_dict(state)
    assert train(*first) == train(*second)


class Strange:
    pass


def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    tdsl.save({"old": 1}, path)
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for bad, message in [
        ({"a": [1, Strange()]}, r"type Strange at \['a'\]\[1\]"), (loop, r"contains itself at \[0\]"),
        (tdsl.nn.Linear(1, 1), "state_dict"), (lambda x: x, "type function"), (deep, "too deeply"),
        (1j, "type complex"),
    ]:  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=message):
            tdsl.save(bad, path)
        file = io.BytesIO()
        with pytest.raises(tdsl.TdslError):
            tdsl.save(bad, file)
        assert file.getvalue() == b""
    assert tdsl.load(path) == {"old": 1} and os.listdir(tmp_path) == ["a.pt"]
    with pytest.raises(AttributeError, match="'write' attribute"):
        tdsl.save(1, 3)
    with pytest.raises(FileNotFoundError):
        tdsl.load(tmp_path / "missing.pt")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "a.pt", tmp_path / "link.pt"
    tdsl.save(1, path)
    path.chmod(0o640)
    link.symlink_to(path)
    tdsl.save(2, link)
    assert link.is_symlink() and tdsl.load(path) == 2 and stat.S_IMODE(path.stat().st_mode) == 0o640

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tdsl.save(tdsl.ones(1000), path)
    assert tdsl.load(path) == 2 and sorted(os.listdir(tmp_path)) == ["a.pt", "link.pt"]


def test_several_objects_in_one_stream() -> None:
    file = io.BytesIO(b"head")
    file.seek(4)
    tdsl.save([1], file)
    file.seek(4)
    assert tdsl.load(file) == [1]


def test_scripts_are_still_run_and_data_is_not(tmp_path: Path) -> None:
    script, data = tmp_path / "script.tdsl", tmp_path / "data.tdsl"
    script.write_text("x = 1 + 2\n")
    tdsl.save({"x": 3}, data)
    assert tdsl.load(script).x == 3 and tdsl.load(str(data)) == {"x": 3}


def test_damaged_files(tmp_path: Path) -> None:
    """Whatever byte is wrong: the same object, or a tdsl error."""
    obj = {"a": tdsl.arange(8), "b": [tdsl.ones(3).t(), (1.5, "x")]}
    file, tensors = io.BytesIO(), io.BytesIO()
    tdsl.save(obj, file)
    tdsl.save_safetensors({"a": tdsl.arange(8), "b": tdsl.ones(3)}, tensors)
    choose = random.Random(0)
    for content in (file.getvalue(), tensors.getvalue()):
        for _ in range(300):
            broken = bytearray(content)
            if choose.random() < 0.3:
                del broken[choose.randrange(len(broken)) :]
            else:
                broken[choose.randrange(len(broken))] ^= 1 << choose.randrange(8)
            try:
                tdsl.load(io.BytesIO(bytes(broken)))
            except tdsl.TdslError:
                pass


def rewritten(obj: Any, change: Any) -> io.BytesIO:
    """A saved file with another index."""
    file, made = io.BytesIO(), io.BytesIO()
    tdsl.save(obj, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "tdsl.json":
                head = json.loads(text)
                change(head)
                text = json.dumps(head).encode()
            new.writestr(name, text)
    return io.BytesIO(made.getvalue())


@pytest.mark.parametrize("fields, message", [
    (dict(shape=[9]), "needs 9 elements, and its storage has 8"), (dict(strides=[-1]), "damaged"),
    (dict(offset=1), "needs 9"), (dict(shape=[2, 4]), "damaged"), (dict(storage="7"), "missing"),
    (dict(dtype="complex64"), "complex64"), (dict(dtype="float64", shape=[2**62, 4]), "damaged"),
    (dict(shape="x"), "cannot be read"), (dict(storage="../x"), "missing"),
])  # fmt: skip
def test_indices_that_lie(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FileError, match=message):
        tdsl.load(rewritten(tdsl.arange(8), lambda head: head["tree"]["tensor"].update(fields)))


def test_other_files() -> None:
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("x.txt", "x")
    for content, message in [
        (other.getvalue(), "neither"), (b"", "empty"), (b"hello world", "no file of tensors"),
        (pickle.dumps([1]), "bare pickle"), (b"PK\x03\x04" + b"0" * 50, "damaged"),
    ]:  # fmt: skip
        with pytest.raises(FileError, match=message):
            tdsl.load(io.BytesIO(content))
    with pytest.raises(FileError, match="newer tdsl"):
        tdsl.load(rewritten(1, lambda head: head.update(version=99)))


# ---- safetensors


def test_safetensors(tmp_path: Path) -> None:
    tensors = {f"x{k}": tdsl.arange(6).reshape(2, 3).to(d) for k, d in enumerate(DTYPES)}
    tensors |= {"empty": tdsl.empty(0, 2), "view": tdsl.arange(6.0).reshape(2, 3).t(), "zero": tdsl.tensor(1.5)}
    path = tmp_path / "a.safetensors"
    tdsl.save(tensors, path)
    got = tdsl.load(path)
    assert set(got) == set(tensors) and all(same(tensors[k], got[k]) for k in tensors)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    assert header["view"]["dtype"] == "F32" and header["view"]["shape"] == [3, 2] and (8 + length) % 8 == 0
    tdsl.save_safetensors({"w": tdsl.ones(1)}, path, metadata={"format": "pt"})
    assert list(tdsl.load_safetensors(path)) == ["w"]
    for bad in ([1], {"a": {"b": tdsl.ones(1)}}, {1: tdsl.ones(1)}):
        with pytest.raises(tdsl.TdslError):
            tdsl.save(bad, path)


@pytest.mark.peer
def test_safetensors_against_the_library(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy")
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.arange(3, dtype=np.int8)}
    theirs.save_file(arrays, tmp_path / "t.safetensors")
    got = tdsl.load(tmp_path / "t.safetensors")
    assert all(np.array_equal(got[k].numpy(), arrays[k]) for k in arrays)
    tdsl.save(got, tmp_path / "o.safetensors")
    assert (tmp_path / "o.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()


def header(**entries: Any) -> io.BytesIO:
    text = json.dumps(entries).encode()
    return io.BytesIO(struct.pack("<Q", len(text)) + text + bytes(8))


HALF = dict(dtype="F32", shape=[1], data_offsets=[4, 8])


@pytest.mark.parametrize("entries", [
    dict(a=dict(dtype="F32", shape=[3], data_offsets=[0, 8])), dict(a=HALF),
    dict(a=dict(dtype="F32", shape=[2], data_offsets=[0, 8]), b=HALF),
    dict(a=dict(dtype="Q4", shape=[2], data_offsets=[0, 8])),
    dict(a=dict(dtype="F32", shape=[-2], data_offsets=[0, 8])),
    dict(a=dict(dtype="F32", shape=[1], data_offsets=[0, 4])), dict(a=3), dict(a=dict(shape=[1])),
])  # fmt: skip
def test_safetensors_that_lie(entries: dict[str, Any]) -> None:
    with pytest.raises(FileError):
        tdsl.load(header(**entries))


# ---- PyTorch's files


def torch_file(text: bytes, **records: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", text)
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return io.BytesIO(file.getvalue())


class Malicious:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_malicious_pickles_are_refused(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for bad, name in [
        (Malicious(os.system, f"touch {mark}"), f"{os.system.__module__}.system"), (Malicious(exec, "1"), ".exec"),
        (Malicious(getattr, "", "join"), ".getattr"), ([Malicious(open, mark, "w")], r"io\.open"),
        (Strange(), "Strange|copy_?reg"), (np.float64(1), "numpy"),
    ]:  # fmt: skip
        with pytest.raises(RefusedGlobal, match=f"Unsupported global: GLOBAL .*({name})") as error:
            tdsl.load(torch_file(pickle.dumps(bad, protocol)), weights_only=False)
        assert isinstance(error.value, pickle.UnpicklingError) and isinstance(error.value, RuntimeError)
    assert not mark.exists()


@pytest.mark.parametrize("text", [
    b"", b"\x80\x02", b"\x80\x02.", b"garbage", b"\x80\x02ccollections\nOrderedDict\n}b.", b"\x80\x02]q\xff\xffh\x05.",
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01s\x86b.",
    b"\x80\x02ccollections\nCounter\n)\x81.", b"\x80\x02]r\xff\xff\xff\xff(lp.",
    b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x02(((((" * 1000 + b"t" * 5000 + b".", b"\x80\x02" + b"(" * 50000 + b"t" * 50000 + b".",
])  # fmt: skip
def test_pickles_that_are_no_pickles(text: bytes) -> None:
    try:
        tdsl.load(torch_file(text))
    except FileError:
        pass
    assert OrderedDict(a=1)["a"] == 1 and Counter("aa")["a"] == 2


@pytest.mark.peer
def test_pytorch_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    names = "float64 float32 int64 int32 int16 int8 uint8 bool".split()
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    opt = torch.optim.Adam(net.parameters())
    net(torch.ones(4, 2)).sum().backward()
    opt.step()
    obj = {
        "net": net.state_dict(), "opt": opt.state_dict(), "x": x, "t": x.t(), "row": x[1], "dtype": torch.float64,
        "every": [torch.arange(4).to(getattr(torch, n)) for n in names], "p": torch.nn.Parameter(x[0]), "none": None,
        "size": x.shape, "device": torch.device("cpu"), "bytes": b"\0\xff", "set": {1}, "nested": [(1, [2.5, "a"])],
        "half": [x.half(), x.bfloat16()], "leaf": torch.ones(2, requires_grad=True), "expanded": x[:1].expand(4, 3),
    }  # fmt: skip
    torch.save(obj, tmp_path / "a.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = tdsl.load(tmp_path / "a.pt", map_location="cpu", weights_only=True)
    assert list(got) == list(obj)
    for n, tensor in zip(names, got["every"], strict=True):
        assert tensor.dtype is getattr(tdsl, n) and tensor.tolist() == torch.arange(4).to(getattr(torch, n)).tolist()
    assert got["opt"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert all(t.float().tolist() == x.tolist() for t in got["half"])
    assert got["p"].requires_grad and got["leaf"].requires_grad and got["size"] == (2, 3)
    assert got["t"].stride() == (1, 3) and got["expanded"].tolist() == [[0, 1, 2]] * 4
    assert got["bytes"] == b"\0\xff" and got["set"] == {1} and got["nested"] == [(1, [2.5, "a"])]
    ours = tdsl.nn.Sequential(tdsl.nn.Linear(2, 3), tdsl.nn.BatchNorm1d(3))
    ours.load_state_dict(got["net"])
    assert np.allclose(
        ours.eval()(tdsl.ones(4, 2)).detach().numpy(), net.eval()(torch.ones(4, 2)).detach().numpy(), atol=1e-6
    )
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(RefusedGlobal, match="Sequential"):
        tdsl.load(tmp_path / "net.pt")
    content = (tmp_path / "a.pt").read_bytes()
    choose = random.Random(1)
    for _ in range(150):
        broken = bytearray(content)
        broken[choose.randrange(len(broken))] ^= 1 << choose.randrange(8)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tdsl.load(io.BytesIO(bytes(broken)))
        except tdsl.TdslError:
            pass


def test_other_devices() -> None:
    text = (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
            b"X\x01\x00\x00\x000X\x06\x00\x00\x00cuda:0K\x02tQK\x00K\x02\x85K\x01\x85\x89NtR.")  # fmt: skip
    content = np.array([1.5, 2.5], np.float32).tobytes()
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
        tdsl.load(torch_file(text, **{"0": content}))
    for place in ("cpu", tdsl.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage):
        assert tdsl.load(torch_file(text, **{"0": content}), map_location=place).tolist() == [1.5, 2.5]
    with pytest.raises(RuntimeError, match="no device"):
        tdsl.load(torch_file(text, **{"0": content}), map_location="cuda")
