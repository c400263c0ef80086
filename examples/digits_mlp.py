"""The same network as digits_mlp.tdsl, in Python: a PyTorch program with only its import changed.

python examples/digits_mlp.py [--epochs 20 --batch 64 --lr 3e-3]
"""

import argparse
from pathlib import Path

import numpy as np

import tdsl
from tdsl import nn
from tdsl.nn import functional as F


class MLP(nn.Module):
    def __init__(self, nin: int, nhid: int, nout: int, p: float = 0.1) -> None:
        super().__init__()
        self.l1 = nn.Linear(nin, nhid)
        self.l2 = nn.Linear(nhid, nhid)
        self.l3 = nn.Linear(nhid, nout)
        self.drop = nn.Dropout(p)

    def forward(self, x: tdsl.Tensor) -> tdsl.Tensor:
        h = F.relu(self.l1(x))
        h = self.drop(F.relu(self.l2(h)))
        return self.l3(h)


def read_digits() -> tuple[tdsl.Tensor, tdsl.Tensor]:
    with np.load(Path(__file__).parent / "data" / "digits.npz") as d:
        images, labels = d["images"], d["labels"]
    return tdsl.tensor(images).reshape(-1, 64).float() / 16.0, tdsl.tensor(labels).long()


def main(epochs: int = 20, batch: int = 64, lr: float = 3e-3) -> float:
    tdsl.manual_seed(0)
    x, y = read_digits()
    order = tdsl.randperm(len(x))
    x, y = x[order], y[order]
    n = len(x) * 4 // 5
    xtr, ytr, xte, yte = x[:n], y[:n], x[n:], y[n:]

    net = MLP(64, 128, 10)
    opt = tdsl.optim.Adam(net.parameters(), lr=lr)
    acc = 0.0
    for epoch in range(epochs):
        net.train()
        order = tdsl.randperm(n)
        total = 0.0
        for start in range(0, n, batch):
            idx = order[start : start + batch]
            loss = F.cross_entropy(net(xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        net.eval()
        with tdsl.no_grad():
            acc = (net(xte).argmax(dim=1) == yte).float().mean().item()
        if epoch % 5 == 4 or epoch == 0:
            print(f"epoch {epoch + 1:2d}  train loss {total / n:.4f}  test accuracy {100 * acc:.1f} %")
    return acc


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--lr", type=float, default=3e-3)
    main(**vars(options.parse_args()))
