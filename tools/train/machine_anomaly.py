"""Train the `machine-anomaly` expert: a window's statistics and an autoencoder's error on it.

`python -m tools.train.machine_anomaly --nab FOLDER --out build/machine-anomaly` trains on the
normal parts of the training series of the Numenta Anomaly Benchmark, tunes the threshold (and
those of the baselines) on those series only, and prints figures for the held-out ones. Fixed
seeds, one thread, about two minutes. The bundled expert has learned from wider autoencoders, too:
`tools/distill/anomaly.py`, which takes its steps, its figures and its words from here.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aiosd.domain.inputs import SeriesInput
from aiosd.domain.post_steps import SeriesOutliers
from aiosd.domain.pre_steps import SeriesDecode, SeriesScale, SeriesWindow
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.series import decode, scale, window
from aiosd.pipelines.surprise import outliers
from tools.train import card
from tools.train.card import Measured
from tools.train.nab import (
    Count,
    Series,
    crossed,
    load_nab,
    score,
    seasonal,
    smoothed,
    tune,
    zscore,
)
from tools.train.plant import plant
from tools.train.recurring import recurring
from tools.train.tflite import write_tflite

HERE = Path()
LENGTH, HOP, CODE = 24, 4, 4
STEPS = (
    SeriesDecode(min_length=96, max_length=100_000, nan="interpolate", max_gap=24),
    SeriesScale(method="robust", compress="asinh", clip=8),
    SeriesWindow(length=LENGTH, hop=HOP),
)
PRE: tuple[Callable[[Any], Any], ...] = (
    decode(STEPS[0], HERE),
    scale(STEPS[1], HERE),
    window(STEPS[2], HERE),
)
POST = SeriesOutliers(
    threshold=0.83,
    length=LENGTH,
    hop=HOP,
    share=0.04,
    apart=72,
    smooth=9,
    calm=0.25,
    local=0.35,
    rare=0.6,
    merge=24,
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


def scores_of(
    net: Callable[[NDArray[np.float32]], NDArray[np.float32]], series: Series
) -> NDArray[np.float64]:
    """Return the expert's score per sample: that of the window whose middle it is in."""
    windows = windows_of(series)
    answer = outliers(POST, HERE)(Answer(tensors=(net(windows),), prepared=(windows,)))
    per_window = np.array(answer.output["scores"])
    places = (np.arange(len(series.values)) - (LENGTH - HOP) // 2) // HOP
    return per_window[np.clip(places, 0, len(per_window) - 1)]


Table = dict[str, NDArray[np.float64]]


def detectors(net: Describer, series: list[Series]) -> dict[str, Table]:
    """Return scores per sample of every series, by every detector."""

    def run(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return net(torch.from_numpy(np.ascontiguousarray(windows))).numpy()

    makers: dict[str, Callable[[Series], NDArray[np.float64]]] = {
        "expert": lambda each: scores_of(run, each),
        "z-score": zscore,
        "time of day": seasonal,
        "time of week": lambda each: seasonal(each, weekly=True),
        "z-score, smoothed like the expert": lambda each: smoothed(zscore(each), 24),
        "time of day, smoothed like the expert": lambda each: smoothed(seasonal(each), 24),
    }
    return {name: {each.name: make(each) for each in series} for name, make in makers.items()}


@dataclass(frozen=True)
class Comparison:
    """Every detector's threshold, a Markdown table of events, and the figures."""

    limits: dict[str, float]
    table: list[str]
    figures: list[Measured]


def compare(net: Describer, series: list[Series], made: dict[str, list[Series]]) -> Comparison:
    """Tune each detector on the training series; count events on all, and on those we `made`."""
    groups = {
        "held out": [each for each in series if each.held_out],
        "training": [each for each in series if not each.held_out],
        **made,
    }
    tables = detectors(net, [*series, *(each for group in made.values() for each in group)])
    limits = {name: tune(table, groups["training"]) for name, table in tables.items()}
    # Two decimals, as the manifest has it.
    limits["expert"] = round(limits["expert"], 2)
    head = ["| series | " + " | ".join(tables) + " |", "|---" * (len(tables) + 1) + "|"]
    lines, figures = list(head), []
    for title, group in groups.items():
        counts = {
            name: [score(each, table[each.name] >= limits[name]) for each in group]
            for name, table in tables.items()
        }
        if title in made:
            lines += ["", *head]
        else:
            lines += [
                f"| {each.name} ({title}) | "
                + " | ".join(cell(counts[name][place]) for name in tables)
                + " |"
                for place, each in enumerate(group)
            ]
        totals = {name: sum(each, Count()) for name, each in counts.items()}
        lines.append(f"| **all {title}** | " + " | ".join(map(cell, totals.values())) + " |")
        if title == "training":
            blind = [crossed(table, group) for table in tables.values()]
            lines.append("| **all training, crossed** | " + " | ".join(map(cell, blind)) + " |")
        figures += [
            figure
            for name, total in totals.items()
            for figure in figures_of(total, f"{name}: {SETS[title]}")
        ]
    return Comparison(limits, lines, figures)


SETS = {
    "held out": "14 held-out series of NAB, 24 windows",
    "training": "the 20 training series of NAB, 44 windows",
    "recurring": "48 series of our own making with recurring forms, 24 faults",
    "plant": "96 series of our own making like those of machines, some wandering",
}


def figures_of(total: Count, data: str) -> list[Measured]:
    """Return F1, precision and recall over events."""
    return [
        Measured(f"event_{name}", round(value, 4), data, total.found + total.missed)
        for name, value in (
            ("f1", total.f1),
            ("precision", total.precision),
            ("recall", total.recall),
        )
    ]


def cell(count: Count) -> str:
    """Return precision / recall / F1 and the counts behind them."""
    return (
        f"{count.precision:.2f} / {count.recall:.2f} / **{count.f1:.2f}** "
        f"({count.found}, {count.false}, {count.missed})"
    )


def cases() -> list[tuple[list[float], bool]]:
    """Return the self-test: series with and without a fault."""
    rng = np.random.default_rng(42)
    places = np.arange(480)
    steady = 60 + rng.normal(0, 0.5, 480)
    daily = 20 + 5 * np.sin(2 * np.pi * places / 96) + rng.normal(0, 0.4, 480)
    square = 5.0 + 10 * ((places % 96 > 30) & (places % 96 < 70)) + rng.normal(0, 0.2, 480)
    hot, stuck, shaky = daily.copy(), daily.copy(), steady.copy()
    hot[300:330] += 14
    stuck[210:250] = stuck[210]
    shaky[380:420] += rng.normal(0, 6, 40)
    spike = steady.copy()
    spike[250] += 20
    found = [
        (steady, False),
        (daily, False),
        (square, False),
        (np.full(200, 7.5), False),
        (hot, True),
        (stuck, True),
        (shaky, True),
        (spike, True),
    ]
    return [([round(float(each), 2) for each in values], fault) for values, fault in found]


def write_package(out: Path, compared: Comparison, trained: int, ram_bytes: int = 0) -> None:
    """Write `expert.toml` and `README.md` from their templates, the model and the figures."""
    here = Path(__file__)
    texts = [
        f"[[self_test.cases]]\nvalues = {values}\nexpect = {{ anomaly = {str(fault).lower()} }}\n"
        for values, fault in cases()
    ]
    post = msgspec.structs.replace(POST, threshold=compared.limits["expert"])
    values = {
        "files": card.file_table(out / "model.tflite", "model"),
        "pre": card.step_tables("pre", STEPS),
        "post": card.step_tables("post", [post]),
        "cases": "\n".join(texts),
        "ram_bytes": str(ram_bytes),
        "data": f"{trained} training series of NAB, normal parts (MIT licence)",
        "figures": card.figure_tables(
            [each for each in compared.figures if "training" not in each.data]
        ),
    }
    manifest = card.fill(here.with_suffix(".toml").read_text(encoding="utf-8"), values)
    (out / "expert.toml").write_text(manifest.rstrip() + "\n", encoding="utf-8")
    tables = "\n".join(compared.table).split("\n\n")
    parts = dict(zip(("table", "recurring", "plant"), tables, strict=True))
    readme = card.fill(here.with_suffix(".md").read_text(encoding="utf-8"), parts)
    (out / "README.md").write_text(readme, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Train, compare, convert; write the package."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.machine_anomaly", description=__doc__
    )
    parser.add_argument("--nab", type=Path, required=True, help="folder with data/ and labels/")
    parser.add_argument("--out", type=Path, default=Path("build/machine-anomaly"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    series = load_nab(given.nab)
    training = [each for each in series if not each.held_out]
    net = train(training)
    made = {"recurring": recurring(48, seed=2026), "plant": plant(96, seed=2027)}
    compared = compare(net, series, made)
    print("thresholds:", {name: round(limit, 3) for name, limit in compared.limits.items()})
    print("\n".join(compared.table))
    print("\n".join(figure.line() for figure in compared.figures))
    given.out.mkdir(parents=True, exist_ok=True)
    write_tflite(net, [(1, LENGTH, 1)], given.out / "model.tflite", weights="float32")
    write_package(given.out, compared, len(training))


if __name__ == "__main__":
    main(sys.argv[1:])
