"""Well-known networks, written once against a library that is given: PyTorch or tdsl.

Each builder takes the library (`torch` or `tdsl`) and returns a module; sizes are small, the architectures are whole.
"""

from __future__ import annotations

from typing import Any


def resnet18(T: Any) -> Any:
    nn, F = T.nn, T.nn.functional

    class Block(nn.Module):
        def __init__(self, cin: int, cout: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(cout)
            self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)
            self.down = None
            if stride != 1 or cin != cout:
                self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

        def forward(self, x: Any) -> Any:
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            y = self.bn2(self.conv2(y))
            y += x if self.down is None else self.down(x)
            return F.relu(y)

    def stage(cin: int, cout: int, stride: int) -> Any:
        return nn.Sequential(Block(cin, cout, stride), Block(cout, cout, 1))

    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        stage(8, 8, 1),
        stage(8, 16, 2),
        stage(16, 24, 2),
        stage(24, 32, 2),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def gpt2(T: Any) -> Any:
    nn, F = T.nn, T.nn.functional
    vocab, block, width, heads = 50, 16, 32, 4

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_attn = nn.Linear(width, 3 * width)
            self.c_proj = nn.Linear(width, width)
            self.register_buffer("bias", T.tril(T.ones(block, block)).view(1, 1, block, block))

        def forward(self, x: Any) -> Any:
            B, L, C = x.size()
            q, k, v = (y.view(B, L, heads, C // heads).transpose(1, 2) for y in self.c_attn(x).split(width, dim=2))
            att = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
            att = F.softmax(att.masked_fill(self.bias[:, :, :L, :L] == 0, float("-inf")), dim=-1)
            return self.c_proj((att @ v).transpose(1, 2).contiguous().view(B, L, C))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attn = Attention()
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class GPT2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = nn.ModuleDict(
                {
                    "wte": nn.Embedding(vocab, width),
                    "wpe": nn.Embedding(block, width),
                    "h": nn.ModuleList([Block() for _ in range(2)]),
                    "ln_f": nn.LayerNorm(width),
                }
            )
            self.lm_head = nn.Linear(width, vocab, bias=False)
            self.transformer.wte.weight = self.lm_head.weight  # tied, as in GPT-2

        def forward(self, ids: Any) -> Any:
            parts = self.transformer
            x = parts.wte(ids) + parts.wpe(T.arange(ids.size(1), dtype=T.long))
            for block in parts.h:
                x = block(x)
            return self.lm_head(parts.ln_f(x))

    return GPT2()


def lstm_language_model(T: Any) -> Any:
    nn = T.nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Embedding(30, 12)
            self.rnn = nn.LSTM(12, 16, num_layers=2, batch_first=True)
            self.decoder = nn.Linear(16, 30)

        def forward(self, ids: Any) -> Any:
            y, (h, c) = self.rnn(self.encoder(ids))
            return self.decoder(y) + h.mean() * c.sum()

    return Model()


def transformer(T: Any) -> Any:
    nn = T.nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(20, 16), nn.Embedding(20, 16)
            self.body = nn.Transformer(16, 4, 2, 2, 32, dropout=0.0, batch_first=True)
            self.out = nn.Linear(16, 20)

        def forward(self, ids: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.size(1) - 1, dtype=self.out.weight.dtype)
            padding = ids == 0
            y = self.body(
                self.source(ids),
                self.target(ids[:, :-1]),
                tgt_mask=mask,
                src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
            )
            return self.out(y)

    return Model()


def unet(T: Any) -> Any:
    nn = T.nn

    def double(cin: int, cout: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1), nn.GroupNorm(2, cout), nn.SiLU(),
            nn.Conv2d(cout, cout, 3, padding=1), nn.InstanceNorm2d(cout, affine=True), nn.LeakyReLU(0.1),
        )  # fmt: skip

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2, self.middle = double(2, 4), double(4, 8), double(8, 16)
            self.pool = nn.MaxPool2d(2)
            self.up2, self.right2 = nn.ConvTranspose2d(16, 8, 2, 2), double(16, 8)
            self.up1, self.right1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), double(12, 4)
            self.out = nn.Conv2d(4, 3, 1)

        def forward(self, x: Any) -> Any:
            a = self.down1(x)
            b = self.down2(self.pool(a))
            y = self.middle(self.pool(b))
            y = self.right2(T.cat([b, self.up2(y)], dim=1))
            return self.out(self.right1(T.cat([a, self.up1(y)], dim=1)))

    return UNet()


def dcgan(T: Any) -> Any:
    """The generator, and the discriminator that judges what it made."""
    nn = T.nn
    return nn.Sequential(
        nn.Unflatten(1, (8, 1, 1)),
        nn.ConvTranspose2d(8, 16, 4, 1, 0, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
        nn.Conv2d(3, 8, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(8, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
        nn.Flatten(),
    )


def vit(T: Any) -> Any:
    nn = T.nn

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 24, 4, stride=4)
            self.cls = nn.Parameter(T.zeros(1, 1, 24))
            self.pos = nn.Parameter(T.zeros(1, 17, 24))
            layer = nn.TransformerEncoderLayer(24, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(24), enable_nested_tensor=False)
            self.head = nn.Linear(24, 10)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = T.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.pos
            return self.head(self.encoder(x)[:, 0])

    return ViT()
