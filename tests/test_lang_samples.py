"""The sample programs of the language's design run as a user runs them, and what they print is right."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import tdsl
from tdsl.cli import main

HERE = Path(__file__).parent
SAMPLES = HERE / "samples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The samples with their data, in a working directory of their own."""
    shutil.copytree(SAMPLES, tmp_path / "samples")
    shutil.copy(HERE.parent / "examples" / "data" / "digits.npz", tmp_path / "samples" / "data")
    monkeypatch.chdir(tmp_path / "samples")
    return tmp_path / "samples"


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    code = main(["run", *args])
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


def test_hello(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "01_hello.tdsl").splitlines()
    assert out[0].startswith("hello tensor([[0.5000, 0.5000],")
    assert out[-1] == "shape tdsl.Size([2, 2]), dtype tdsl.float32, total 6.00"


def test_linear_regression(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "02_linear_regression.tdsl", "--steps", "150").splitlines()
    losses = [float(line.split()[-1]) for line in out if line.startswith("step")]
    assert len(losses) == 3 and losses[-1] < 1e-3 < losses[0]
    assert abs(float(out[-1].split()[-1]) - 1.0) < 1e-2


def test_custom_backward(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert numbers(run(capsys, "03_custom_backward.tdsl"))[-1] < 1.2


def test_digits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "04_digits_mlp.tdsl", "--epochs", "4", "--lr", "4e-3")
    assert numbers(out)[-1] > 84
    assert (folder / "digits_mlp.safetensors").is_file()


def test_digits_from_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    data = np.load(folder / "data" / "digits.npz")
    rows = np.concatenate([data["images"].reshape(-1, 64), data["labels"].reshape(-1, 1)], 1)[:320]
    np.savetxt(folder / "data" / "digits.csv", rows, fmt="%d", delimiter=",", header="pixels, label", comments="")
    assert "epoch  1" in run(capsys, "04_digits_mlp.tdsl", "--csv", "--epochs", "1")


def test_convnet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = numbers(run(capsys, "05_convnet.tdsl", "--epochs", "2"))
    assert len(losses) == 2 and losses[1] < losses[0]


def test_dynamic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "06_dynamic.tdsl")
    assert "collatz(27): 111" in out
    roots, slopes = re.findall(r"tensor\(\[(.*?)\]\)", out)
    assert [round(float(x), 3) for x in roots.split(",")] == [1.414, 1.732, 3.162]
    # d sqrt(a) / da, with what the stopping test's 1e-6 leaves
    assert [round(float(x), 3) for x in slopes.split(",")] == pytest.approx([0.354, 0.289, 0.158], abs=2e-3)


def test_index_notation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "07_index_notation.tdsl") == "mask ok\n"


def test_scan_and_scatter(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "08_scan_scatter.tdsl")
    assert numbers(out)[:4] == [1.0, 1.5, 1.75, 1.875]
    assert out.splitlines()[-1] == "tensor([2., 0., 0., 1.])"


def test_a_scan_trains(folder: Path) -> None:
    """The LSTM of the sample learns to remember the sign of its first input."""
    lstm = tdsl.lang.modules.load("08_scan_scatter.tdsl").lstm
    tdsl.manual_seed(0)
    width = 8
    params = [(0.3 * tdsl.randn(*shape)).requires_grad_() for shape in ((4 * width, 1), (4 * width, width), (width, 1))]
    bias = tdsl.zeros(4 * width, requires_grad=True)
    optimizer = tdsl.optim.Adam([*params, bias], lr=0.03)
    x = tdsl.randn(6, 32, 1)
    target = x[0].sign()
    losses = []
    for _ in range(60):
        h = lstm(x, params[0], params[1], bias)
        loss = ((h[-1] @ params[2]) - target).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < losses[0]


def test_char_gpt(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path("09_char_gpt.tdsl").read_text(encoding="utf-8")
    small = source.replace("block: int = 64", "block: int = 16").replace("layers: int = 4", "layers: int = 1")
    small = (
        small.replace("step % 100", "step % 30")
        .replace("width: int = 128", "width: int = 32")
        .replace("dtype=i64), 200)", "dtype=i64), 20)")
    )
    Path("small.tdsl").write_text(small, encoding="utf-8")
    out = run(capsys, "small.tdsl", "--steps", "31", "--batch", "8", "--lr", "2e-2")
    first, last = numbers(out)[:2]
    assert last < first - 0.8
    assert "parameters, 41 characters" in out


def test_train_and_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "10_train_eval.tdsl")
    assert out.startswith("body.0.weight ") and "head.bias" in out
    assert numbers(out)[-1] > 0.7
    assert (folder / "classifier.safetensors").is_file()


def test_imports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "--allow-python", "11_imports.tdsl").splitlines()
    history = [float(line) for line in out[:-1]]
    assert len(history) == 5 and history[-1] < history[0]
    assert out[-1] == "eps in layers: 1e-05  5 choose 2: 10"


def test_imports_are_not_allowed_by_default(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "11_imports.tdsl"]) == 1
    error = capsys.readouterr().err
    assert "error[E0701]: this script may not import Python modules" in error
    assert "11_imports.tdsl:4:1" in error


def test_shape_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "12_shape_error.tdsl"]) == 1
    found = capsys.readouterr()
    assert found.out.splitlines()[0] == "tdsl.Size([4, 8, 10, 8]) tdsl.Size([4, 32])"
    assert found.err == (HERE / "golden" / "12_shape_error.stderr").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.tdsl")), ids=lambda p: p.stem)
def test_nothing_to_report(path: Path, folder: Path) -> None:
    """`tdsl check` finds no fault in a sample, and warns of nothing that is not there."""
    assert main(["check", path.name]) == 0
