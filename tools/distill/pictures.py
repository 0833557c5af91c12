"""Pictures of handwritten digits, as the steps of the `digits` package give them to its model.

Learned from are scans of the UCI set in random pictures and strokes that this project draws; the
last 360 scans, and strokes of another hand's shake, judge. What only the teacher labels are bent
copies of both, and two mixed (Zhang et al. 2018).
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from tools.distill.table import Material, Table, unlabelled
from tools.train.digits import STEPS, TRAIN_SCANS, bend, collect, drawn, scanned
from tools.train.scenes import Pixels

LABELS = tuple(map(str, range(10)))
# The last scans of those that may be learned from set temperature and thresholds instead.
TUNING_SCANS = 137
SCANNED_EACH, DRAWN, HELD_EACH, HELD_DRAWN = 4, 5_000, 3, 1_000
BENT_EACH = 2
SEED = 1


def read_digits(scale: float = 1.0) -> Material:
    """Return pictures as float32 (28, 28, 1) in 0..1; `scale` makes fewer of all that is drawn."""
    digits = load_digits()
    images, labels = digits.images, digits.target.astype(np.int64)
    tuned = TRAIN_SCANS - TUNING_SCANS
    each, strokes = max(1, round(SCANNED_EACH * scale)), max(10, round(DRAWN * scale))
    train = _table(scanned(images[:tuned], labels[:tuned], each, 2), "scans") + _table(
        drawn(strokes, SEED), "strokes"
    )
    held = _table(scanned(images[TRAIN_SCANS:], labels[TRAIN_SCANS:], HELD_EACH, 5), "scans")
    held += _table(drawn(max(10, round(HELD_DRAWN * scale)), 77, shake=0.035), "strokes")
    tuning = _table(scanned(images[tuned:TRAIN_SCANS], labels[tuned:TRAIN_SCANS], 3, 7), "scans")
    return Material(
        LABELS,
        train,
        unlabelled(_bent(train)),
        tuning,
        held,
        f"{len(held)} pictures: the last 360 UCI scans in {HELD_EACH} random pictures each, and "
        "strokes drawn by this project with another shake",
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0",
        pre=STEPS,
    )


def _table(pictures: Iterable[tuple[Pixels, int]], name: str) -> Table:
    found, labels = collect(pictures)
    rows = found.permute(0, 2, 3, 1).numpy()
    return Table(list(rows), labels.numpy().astype(np.int64), [name] * len(rows))


def _bent(table: Table) -> list[NDArray[np.float32]]:
    """Return every picture bent, `BENT_EACH` times; every second one mixed with another."""
    chance, rng = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)
    plain = torch.from_numpy(np.stack([np.asarray(one)[None, :, :, 0] for one in table.inputs]))
    found: list[NDArray[np.float32]] = []
    for _ in range(BENT_EACH):
        rows = bend(plain, rng).permute(0, 2, 3, 1).numpy()
        shares = np.where(np.arange(len(rows)) % 2, chance.beta(0.8, 0.8, len(rows)), 1.0)
        others = rows[chance.permutation(len(rows))]
        part = shares.astype(np.float32)[:, None, None, None]
        found += list(part * rows + (1 - part) * others)
    return found
