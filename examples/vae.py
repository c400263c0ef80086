"""A variational autoencoder of handwritten digits (UCI, 8 x 8 pixels), which then draws its own: vae.tdsl in Python.

python examples/vae.py [--epochs 30 --batch 64 --lr 3e-3 --latent 8]
"""

import argparse
from pathlib import Path

import numpy as np

import tdsl
from tdsl import nn
from tdsl.distributions import Normal, kl_divergence
from tdsl.nn import functional as F


class VAE(nn.Module):
    def __init__(self, latent: int, width: int = 96) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, 64))

    def forward(self, x: tdsl.Tensor) -> tuple[tdsl.Tensor, Normal]:
        """The reconstruction's logits, and the distribution of z that they were made from."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = Normal(mu, (0.5 * logvar).exp())
        return self.decoder(z.rsample()), z


def draw(picture: tdsl.Tensor) -> None:
    for row in picture.tolist():
        print("".join(" .:-=+*#%@"[min(9, int(10 * v))] * 2 for v in row))


def main(epochs: int = 30, batch: int = 64, lr: float = 3e-3, latent: int = 8) -> float:
    tdsl.manual_seed(0)
    with np.load(Path(__file__).parent / "data" / "digits.npz") as d:
        x = tdsl.tensor(d["images"]).reshape(-1, 64).float() / 16.0
    net, standard = VAE(latent), Normal(0.0, 1.0)
    opt = tdsl.optim.Adam(net.parameters(), lr=lr)
    reached = 0.0
    for epoch in range(epochs):
        sums = np.zeros(2)
        for idx in tdsl.randperm(len(x)).split(batch):
            logits, z = net(x[idx])
            # what a picture costs: its pixels given z, and z against a standard normal
            pixels = F.binary_cross_entropy_with_logits(logits, x[idx], reduction="sum")
            extra = kl_divergence(z, standard).sum()
            opt.zero_grad()
            ((pixels + extra) / len(idx)).backward()
            opt.step()
            sums += [pixels.item(), extra.item()]
        reached, cost = sums / len(x)
        if (epoch + 1) % 5 == 0 or epoch == 0:
            print(f"epoch {epoch + 1:2d}  pixels {reached:.2f}  latent {cost:.2f}")
    with tdsl.no_grad():
        for made in net.decoder(tdsl.randn(2, latent)).sigmoid():
            draw(made.reshape(8, 8))
    return float(reached)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--lr", type=float, default=3e-3)
    options.add_argument("--latent", type=int, default=8)
    main(**vars(options.parse_args()))
