"""Train the `machine-anomaly` expert: a window's statistics and an autoencoder's error on it.

`python -m tools.train.machine_anomaly --nab FOLDER --out experts/machine-anomaly` trains on the
normal parts of the training series of the Numenta Anomaly Benchmark, tunes the threshold (and
those of the baselines) on those series only, and prints figures for the held-out ones. Fixed
seeds, one thread, about two minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aiosd.domain.inputs import SeriesInput
from aiosd.domain.steps import SeriesDecode, SeriesOutliers, SeriesScale, SeriesWindow
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.series import decode, scale, window
from aiosd.pipelines.surprise import outliers
from tools.train.nab import Count, Series, score

HERE = Path()
LENGTH, HOP, CODE = 24, 4, 4
PRE: tuple[Callable[[Any], Any], ...] = (
    decode(SeriesDecode(min_length=96, max_length=100_000, nan="interpolate", max_gap=24), HERE),
    scale(SeriesScale(method="robust", compress="asinh", clip=8), HERE),
    window(SeriesWindow(length=LENGTH, hop=HOP), HERE),
)
POST = SeriesOutliers(
    threshold=1.5, length=LENGTH, hop=HOP, quantile=0.8, floor=0.3, smooth=6, merge=24
)


class Describer(nn.Module):
    """(n, 24, 1) → (n, 7): mean, log spread, max, min, log mean and largest step, log error.

    The error is that of an autoencoder (24 → 16 → 4 → 16 → 24) on the window without its mean and
    spread: how unlike the windows of ordinary series its shape is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Linear(LENGTH, 16), nn.ReLU(), nn.Linear(16, CODE))
        self.back = nn.Sequential(nn.Linear(CODE, 16), nn.ReLU(), nn.Linear(16, LENGTH))

    def error(self, x: torch.Tensor) -> torch.Tensor:
        """Return the root mean square of what the autoencoder misses; (n, 24) → (n, 1)."""
        rest = x - x.mean(1, keepdim=True)
        spread = (rest * rest).mean(1, keepdim=True).sqrt() + 0.1
        shape = rest / spread
        missed = (self.back(self.into(shape)) - shape) * spread
        return (missed * missed).mean(1, keepdim=True).sqrt()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the seven features."""
        x = x.reshape(-1, LENGTH)
        mean = x.mean(1, keepdim=True)
        spread = ((x - mean) * (x - mean)).mean(1, keepdim=True).sqrt()
        steps = (x[:, 1:] - x[:, :-1]).abs()
        return torch.cat(
            [
                mean,
                (spread + 0.05).log(),
                x.amax(1, keepdim=True),
                x.amin(1, keepdim=True),
                (steps.mean(1, keepdim=True) + 0.02).log(),
                (steps.amax(1, keepdim=True) + 0.05).log(),
                (self.error(x) + 0.05).log(),
            ],
            1,
        )


def windows_of(series: Series) -> NDArray[np.float32]:
    """Run the expert's own pre steps on one series: float32 (n, 24, 1)."""
    value: Any = SeriesInput(values=series.values.tolist())
    for step in PRE:
        value = step(value)
    return value


def train(series: list[Series], epochs: int = 30) -> Describer:
    """Train the autoencoder on the windows that touch no labelled window."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    rows = []
    for each in series:
        windows = windows_of(each)[:, :, 0]
        starts = np.arange(len(windows)) * HOP
        normal = np.array([not each.labels[s : s + LENGTH].any() for s in starts])
        chosen = windows[normal]
        # The same number from each series, so that long ones do not decide.
        rows.append(chosen[rng.choice(len(chosen), 600, replace=len(chosen) < 600)])
    x = torch.from_numpy(np.concatenate(rows))
    net = Describer()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        total = 0.0
        parts = torch.randperm(len(x)).split(128)
        for part in parts:
            batch = x[part] * (1 + 0.3 * torch.randn(len(part), 1))
            loss = (net.error(batch) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: mean square missed {total / len(parts):.4f}")
    return net.eval()


@dataclass(frozen=True)
class Result:
    """Scores per sample of one series, by one detector."""

    name: str
    scores: NDArray[np.float64]


def scores_of(net: Callable[[NDArray[np.float32]], NDArray[np.float32]], series: Series
              ) -> NDArray[np.float64]:
    """Return the expert's score per sample: that of the window whose middle it is in."""
    windows = windows_of(series)
    answer = outliers(POST, HERE)(Answer(tensors=(net(windows),), prepared=(windows,)))
    per_window = np.array(answer.output["scores"])
    places = (np.arange(len(series.values)) - (LENGTH - HOP) // 2) // HOP
    return per_window[np.clip(places, 0, len(per_window) - 1)]
