"""A small GPT that learns three sonnets letter by letter, and then writes: char_gpt.tdsl in Python.

python examples/char_gpt.py [--steps 400 --batch 16 --lr 3e-3 --text data/sonnets.txt --letters 200]
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import tdsl
from tdsl import nn
from tdsl.nn import functional as F


@dataclass
class Config:
    vocab: int
    block: int = 32
    layers: int = 2
    heads: int = 4
    width: int = 64
    dropout: float = 0.0


class Attention(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.proj = nn.Linear(cfg.width, cfg.width, bias=False)

    def forward(self, x: tdsl.Tensor) -> tdsl.Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(cfg.width)
        self.attn = Attention(cfg)
        self.ln2 = nn.LayerNorm(cfg.width)
        self.mlp = nn.Sequential(
            nn.Linear(cfg.width, 4 * cfg.width),
            nn.GELU(),
            nn.Linear(4 * cfg.width, cfg.width),
            nn.Dropout(cfg.dropout),
        )

    def forward(self, x: tdsl.Tensor) -> tdsl.Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.block = cfg.block
        self.tok = nn.Embedding(cfg.vocab, cfg.width)
        self.pos = nn.Embedding(cfg.block, cfg.width)
        for table in (self.tok, self.pos):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList([Block(cfg) for _ in range(cfg.layers)])
        self.ln = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)

    def forward(self, ids: tdsl.Tensor) -> tdsl.Tensor:
        x = self.tok(ids) + self.pos(tdsl.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))

    @tdsl.no_grad()
    def write(self, ids: tdsl.Tensor, n: int, temperature: float = 0.8) -> tdsl.Tensor:
        """`ids` [1, t] and `n` more letters; the last `block` of them are what the network sees."""
        for _ in range(n):
            logits = self(ids[:, -self.block :])[:, -1, :] / temperature
            ids = tdsl.cat([ids, tdsl.multinomial(logits.softmax(dim=-1), 1)], dim=1)
        return ids


def main(
    steps: int = 400, batch: int = 16, lr: float = 3e-3, text: str = "data/sonnets.txt", letters: int = 200
) -> str:
    tdsl.manual_seed(1337)
    corpus = (Path(__file__).parent / text).read_text(encoding="utf-8")
    chars = sorted(set(corpus))
    number = {c: k for k, c in enumerate(chars)}
    data = tdsl.tensor([number[c] for c in corpus])
    cfg = Config(vocab=len(chars))
    net = GPT(cfg)
    opt = tdsl.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.1)
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{parameters:,} parameters, {len(corpus)} letters, {len(chars)} different ones")
    windows = data.unfold(0, cfg.block + 1, 1)
    for step in range(steps):
        seen = windows[tdsl.randint(0, len(windows), (batch,))]
        loss = F.cross_entropy(net(seen[:, :-1]).flatten(0, 1), seen[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:4d}  loss {loss.item():.4f}")
    net.eval()
    # the block is full from the start: one shape, one kernel
    written = "".join(chars[k] for k in net.write(data[: cfg.block].unsqueeze(0), letters)[0].tolist())
    print(written)
    return written


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--lr", type=float, default=3e-3)
    options.add_argument("--text", default="data/sonnets.txt")
    options.add_argument("--letters", type=int, default=200)
    main(**vars(options.parse_args()))
