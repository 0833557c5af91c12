"""Train the `digits` expert: a small CNN on UCI's scans, drawn strokes and free fonts.

`python -m tools.train.digits --out experts/digits --fonts FOLDER` makes the package and prints
figures; without `--fonts` the fonts are left out of training and of the proxy test. Fixed seeds,
one thread, about fifteen minutes.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aiosd.domain.errors import InvalidError
from aiosd.domain.post_steps import ScoresSoftmax, ScoresTopK
from aiosd.domain.pre_steps import ImageCropContent, ImageDecode, ImageFit, ImageInk, TensorAffine
from aiosd.pipelines.image import crop_content, fit, ink
from tools.train import card
from tools.train.card import Measured, share
from tools.train.scenes import Pixels, from_font, from_scan, scene
from tools.train.strokes import draw, strokes_of
from tools.train.tflite import write_tflite

TRAIN_SCANS = 1437  # the last 360 scans are held out
# Fonts that no training sees: the nearest thing here to another collection.
HELD_OUT_FONTS = (
    "Breip",
    "breipfont",
    "SteveHand",
    "dkg",
    "dkgBd",
    "dkgBI",
    "dkgIt",
    "Delphine",
    "Kristi",
    "BecauseWeLearn-Regular",
    "kiloji",
    "kiloji_b",
    "kiloji_p",
    "kiloji_d",
    "Joscelyn-Regular",
)
HERE = Path()
STEPS = (
    ImageDecode(mode="grey", max_megapixels=50, min_pixels=4, max_side=320),
    ImageInk(),
    ImageCropContent(min_share=0.04, threshold=0.2),
    ImageFit(size=28, content=22, brighten=True),
    TensorAffine(scale=1 / 255),
)
POST = (ScoresSoftmax(), ScoresTopK(k=3, file="labels.txt"))
PRE: tuple[Callable[[Any], Any], ...] = (
    ink(STEPS[1], HERE),
    crop_content(STEPS[2], HERE),
    fit(STEPS[3], HERE),
)


def prepare(picture: Pixels) -> NDArray[np.float32]:
    """Run the expert's own steps on a grey picture; float32 (28, 28) in 0..1."""
    value: Any = picture[:, :, np.newaxis]
    for step in PRE:
        value = step(value)
    return value[:, :, 0].astype(np.float32) / 255


def collect(pictures: Iterable[tuple[Pixels, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (n, 1, 28, 28) and labels; a picture whose ink was lost is left out."""
    inputs, labels = [], []
    for picture, label in pictures:
        try:
            inputs.append(prepare(picture))
        except InvalidError:
            continue
        labels.append(label)
    return torch.from_numpy(np.stack(inputs)[:, None]), torch.tensor(labels)


def drawn(count: int, seed: int, *, shake: float = 0.025) -> Iterable[tuple[Pixels, int]]:
    """Yield scenes of drawn strokes."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        side = int(rng.choice([40, 56, 72, 96, 128]))
        lines = strokes_of(index % 10, rng, shake=shake * rng.uniform(0.3, 1.8))
        yield scene(draw(lines, side, float(rng.uniform(0.03, 0.2)), rng), rng), index % 10


def scanned(
    scans: NDArray[np.float64], labels: NDArray[np.int64], copies: int, seed: int
) -> Iterable[tuple[Pixels, int]]:
    """Yield scenes of the scans, `copies` of each."""
    rng = np.random.default_rng(seed)
    for _ in range(copies):
        for scan, label in zip(scans, labels, strict=True):
            yield scene(from_scan(scan, rng), rng), int(label)


def printed(
    folder: Path, copies: int, seed: int, *, held_out: bool
) -> Iterable[tuple[Pixels, int]]:
    """Yield scenes of the fonts in `folder`: those held out, or the others."""
    rng = np.random.default_rng(seed)
    for path in sorted(folder.iterdir()):
        if (path.stem in HELD_OUT_FONTS) != held_out or path.stem in {"femkeklaver", "setofont-ex"}:
            continue
        for digit in range(10):
            mask = glyph(path, digit)
            for _ in range(copies):
                yield scene(from_font(mask, rng), rng), digit


def glyph(path: Path, digit: int) -> Pixels:
    """Return one digit of a font, 64 pixels on its longer side, in a square of 96."""
    font = ImageFont.truetype(str(path), 64)
    left, top, right, bottom = font.getbbox(str(digit))
    font = ImageFont.truetype(str(path), 64 * 64 / max(right - left, bottom - top))
    left, top, right, bottom = font.getbbox(str(digit))
    image = Image.new("L", (96, 96), 0)
    place = (48 - (left + right) / 2, 48 - (top + bottom) / 2)
    ImageDraw.Draw(image).text(place, str(digit), font=font, fill=255)
    return np.asarray(image)


def plain_scans(scans: NDArray[np.float64]) -> list[Pixels]:
    """Return the scans as 8 × 8 grey pictures, light on dark."""
    return [np.rint(scan / 16 * 255).astype(np.uint8) for scan in scans]


class Net(nn.Module):
    """Three convolutions and two dense layers; (n, 28, 28, 1) → 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv3, self.norm3 = nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv4, self.norm4 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.dense1, self.dense2 = nn.Linear(64 * 9, 64), nn.Linear(64, 10)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 10)."""
        x = x.reshape(-1, 1, 28, 28)
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(x))), 2)
        x = functional.relu(self.norm2(self.conv2(x)))
        x = functional.max_pool2d(functional.relu(self.norm3(self.conv3(x))), 2)
        x = functional.max_pool2d(functional.relu(self.norm4(self.conv4(x))), 2)
        x = functional.relu(self.dense1(self.drop(x.flatten(1))))
        logits: torch.Tensor = self.dense2(self.drop(x))
        return logits

    def fold(self) -> None:
        """Put the batch normalizations into the convolutions."""
        for index in (1, 2, 3, 4):
            conv, norm = getattr(self, f"conv{index}"), getattr(self, f"norm{index}")
            setattr(self, f"conv{index}", fuse_conv_bn_eval(conv.eval(), norm.eval()))
            setattr(self, f"norm{index}", nn.Identity())


def bend(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Turn, lean, scale, move and warp a batch; thicken or thin its strokes."""
    n = len(x)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    turn, lean = normal(n) * 0.13, normal(n) * 0.2
    sx, sy = 1 + normal(n) * 0.09, 1 + normal(n) * 0.07
    theta = torch.stack(
        [
            torch.stack([sx * turn.cos(), -turn.sin() + lean, normal(n) * 0.05], 1),
            torch.stack([turn.sin(), sy * turn.cos(), normal(n) * 0.05], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [n, 1, 28, 28], align_corners=False)
    warp = functional.interpolate(
        normal(n, 2, 5, 5) * 0.045, (28, 28), mode="bicubic", align_corners=True
    )
    x = functional.grid_sample(x, grid + warp.permute(0, 2, 3, 1), align_corners=False)
    pick = torch.rand(n, generator=rng)[:, None, None, None]
    mix = torch.rand(n, generator=rng)[:, None, None, None] * 0.7
    thick = functional.max_pool2d(x, 3, 1, 1)
    thin = -functional.max_pool2d(-x, 3, 1, 1)
    x = torch.where(pick < 0.15, x + (thick - x) * mix, x)
    x = torch.where(pick > 0.9, x + (thin - x) * mix * 0.6, x)
    blurred = functional.avg_pool2d(x, 3, 1, 1)
    x = torch.where((pick > 0.5) & (pick < 0.65), x + (blurred - x) * mix, x)
    peak = x.amax((1, 2, 3), keepdim=True).clamp_min(0.2)
    return (x / peak).clamp(0, 1)


def train(x: torch.Tensor, y: torch.Tensor, epochs: int) -> Net:
    """Return the trained net."""
    torch.manual_seed(7)
    rng = torch.Generator().manual_seed(7)
    net, batch = Net(), 128
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, total_steps=steps, pct_start=0.15
    )
    for epoch in range(epochs):
        net.train()
        start, total = time.monotonic(), 0.0
        order = torch.randperm(len(x), generator=rng)
        for part in order[: len(x) // batch * batch].split(batch):
            loss = functional.cross_entropy(net(bend(x[part], rng)), y[part], label_smoothing=0.03)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1}/{epochs} loss {total / (len(x) // batch):.4f} "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
    net.eval()
    net.fold()
    return net


def accuracy(net: Net, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of right answers."""
    net.eval()
    with torch.no_grad():
        return float((torch.cat([net(p) for p in x.split(512)]).argmax(1) == y).float().mean())


def measure(net: Net, sets: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[Measured]:
    """Return the accuracy on each set, with its interval."""
    return [
        share("accuracy", round(accuracy(net, *data) * len(data[1])), len(data[1]), name)
        for name, data in sets.items()
    ]


def write_package(out: Path, figures: list[Measured]) -> None:
    """Write labels, self-test pictures, `expert.toml` and `README.md` beside the model in `out`."""
    here = Path(__file__)
    (out / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)), encoding="utf-8")
    rng = np.random.default_rng(4)
    tables, texts = [], []
    for digit in range(10):
        lines = strokes_of(digit, rng, shake=0.01)
        picture = draw(lines, 48 + 8 * digit, 0.06 + 0.012 * digit, rng)
        name = f"case-{digit}.png"
        # Even digits light on dark, odd ones dark on light.
        Image.fromarray(255 - picture if digit % 2 else picture).save(out / name, optimize=True)
        tables.append(card.file_table(out / name))
        texts.append(f'[[self_test.cases]]\nfile = "{name}"\nexpect = {{ label = "{digit}" }}\n')
    model, labels = card.file_table(out / "model.tflite", "model"), out / "labels.txt"
    values = {
        "files": "\n".join([model, card.file_table(labels), *tables]),
        "pre": card.step_tables("pre", STEPS),
        "post": card.step_tables("post", POST),
        "cases": "\n".join(texts),
        "figures": card.figure_tables(figures),
    }
    manifest = card.fill(here.with_suffix(".toml").read_text(encoding="utf-8"), values)
    (out / "expert.toml").write_text(manifest.rstrip() + "\n", encoding="utf-8")
    rows = [
        f"| {each.data} | {each.samples} | {each.value:.4f} | {each.low:.4f} – {each.high:.4f} |"
        for each in figures
    ]
    readme = here.with_suffix(".md").read_text(encoding="utf-8")
    (out / "README.md").write_text(card.fill(readme, {"figures": "\n".join(rows)}), "utf-8")


def judged(fonts: Path | None) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the sets that figures are measured on; no training sees them."""
    digits = load_digits()
    held, labels = digits.images[TRAIN_SCANS:], digits.target[TRAIN_SCANS:]
    sets = {
        "last 360 UCI scans, 8 × 8 as they are": collect(
            zip(plain_scans(held), map(int, labels), strict=True)
        ),
        "the same 360 scans in 3 random pictures each": collect(scanned(held, labels, 3, 5)),
        "proxy: strokes of other shake, drawn by this project": collect(
            drawn(1000, 77, shake=0.035)
        ),
    }
    if fonts:
        sets["proxy: 15 handwriting fonts never trained on"] = collect(
            printed(fonts, 10, 99, held_out=True)
        )
    return sets


def main(arguments: Sequence[str]) -> None:
    """Train, measure, convert; write the package."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.digits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("experts/digits"))
    parser.add_argument("--fonts", type=Path, help="folder of .ttf and .otf files")
    parser.add_argument("--drawn", type=int, default=28_000)
    parser.add_argument("--copies", type=int, default=8, help="pictures per scan")
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    digits = load_digits()
    images, labels = digits.images[:TRAIN_SCANS], digits.target[:TRAIN_SCANS]
    parts = [collect(drawn(given.drawn, 1)), collect(scanned(images, labels, given.copies, 2))]
    if given.fonts:
        parts.append(collect(printed(given.fonts, 18, 3, held_out=False)))
    print("training pictures:", [len(y) for _, y in parts], flush=True)
    x, y = torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])
    net = train(x, y, given.epochs)
    figures = measure(net, judged(given.fonts))
    print("\n".join(figure.line() for figure in figures))
    given.out.mkdir(parents=True, exist_ok=True)
    write_tflite(net, [(1, 28, 28, 1)], given.out / "model.tflite", weights="int8")
    write_package(given.out, figures)


if __name__ == "__main__":
    main(sys.argv[1:])
