"""A convolutional network on handwritten digits (UCI, 8 x 8 pixels): digits_cnn.tdsl in Python.

python examples/digits_cnn.py [--epochs 16 --batch 32 --lr 4e-3]
"""

import argparse
from pathlib import Path

import numpy as np

import tdsl
from tdsl import nn
from tdsl.nn import functional as F
from tdsl.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 3, padding=1)
        self.c2 = nn.Conv2d(32, 64, 3, padding=1)
        self.l1 = nn.Linear(64 * 2 * 2, 64)
        self.l2 = nn.Linear(64, 10)
        self.drop = nn.Dropout(0.4)

    def forward(self, x: tdsl.Tensor) -> tdsl.Tensor:
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        return self.l2(self.drop(F.relu(self.l1(x.flatten(1)))))


def read_digits() -> TensorDataset:
    with np.load(Path(__file__).parent / "data" / "digits.npz") as d:
        images, labels = d["images"], d["labels"]
    return TensorDataset(tdsl.tensor(images).float().unsqueeze(1) / 16.0, tdsl.tensor(labels).long())


def accuracy(net: Net, loader: DataLoader) -> float:
    """Percent of the images that the network names rightly."""
    net.eval()
    with tdsl.no_grad():
        right = sum((net(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    net.train()
    return 100 * right / len(loader.dataset)


def main(epochs: int = 16, batch: int = 32, lr: float = 4e-3) -> float:
    tdsl.manual_seed(0)
    digits = read_digits()
    n = len(digits) * 4 // 5
    learn, test = random_split(digits, [n, len(digits) - n])
    batches, tests = DataLoader(learn, batch, shuffle=True), DataLoader(test, len(test))
    net = Net()
    opt = tdsl.optim.Adam(net.parameters(), lr=lr)
    slower = tdsl.optim.lr_scheduler.LinearLR(opt, 1.0, 1.0 / epochs, total_iters=epochs)
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{parameters:,} parameters, {n} images to learn from, {len(test)} to test on")
    reached = 0.0
    for epoch in range(epochs):
        total = 0.0
        for x, y in batches:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        slower.step()
        reached = accuracy(net, tests)
        print(f"epoch {epoch + 1:2d}  loss {total / n:.4f}  accuracy {reached:.1f} %")
    return reached


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--epochs", type=int, default=16)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--lr", type=float, default=4e-3)
    main(**vars(options.parse_args()))
