"""Two releases side by side: sizes, steps, figures on the same data, and who says what for whom."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.manifest import Figure, Manifest
from aiosd.domain.post_steps import ScoresSoftmax
from tools.distill.engine import Judge, read_manifest
from tools.distill.fault import DistillError
from tools.distill.proof import Gain, calibration_error, gain
from tools.distill.table import NONE, Input, Material
from tools.distill.top_k import softmax


def compare(first: Path, second: Path) -> list[str]:
    """Return lines that set two packages (or the folders of two runs) beside each other.

    Raises:
        DistillError: one of them is no package, or they are of different tasks.
    """
    left, right = (_read(path) for path in (first, second))
    if left.task is not right.task:
        raise DistillError(f"{first} is for {left.task}, {second} for {right.task}")
    rows = [
        ("", str(first), str(second)),
        ("release", f"{left.name} {left.release}", f"{right.name} {right.release}"),
        ("model", *(f"{_size(each):,} bytes" for each in (left, right))),
        ("RAM needed", *(f"{each.needs.ram_bytes:,} bytes" for each in (left, right))),
        ("architecture", left.card.architecture, right.card.architecture),
        ("teacher", left.card.teacher or "none", right.card.teacher or "none"),
        ("self-tests", str(len(left.self_test.cases)), str(len(right.self_test.cases))),
        ("labels", *_labels(left, right)),
    ]
    return [*aligned(rows), "", *_figures(left, right)]


def compare_on(first: Path, second: Path, material: Material) -> list[str]:
    """Return lines that say how much more of a recipe's held-out rows the second has right.

    By set, where slices name sets before a colon; rows of no label are left out.

    Raises:
        DistillError: one of them is no package, or its labels are not the recipe's.
    """
    held = material.held.where(material.held.labels > NONE)
    names = [each.partition(": ")[0] if ": " in each else "" for each in held.slices]
    groups = np.array(names or [""] * len(held))
    scores = [_shares(path, material.labels, held.inputs) for path in (first, second)]
    right = [shares.argmax(axis=1) == held.labels for shares in scores]
    rows: list[tuple[str, ...]] = [
        ("rows", "n", "first", "second", "second over first (95 %)", "calibration errors")
    ]
    for name in ["", *np.unique(groups[groups != ""])]:
        mine = groups == name if name else np.ones(len(held), np.bool_)
        found = gain(right[1][mine], right[0][mine])
        errors = [
            calibration_error(each.max(axis=1)[mine], good[mine])
            for each, good in zip(scores, right, strict=True)
        ]
        rows.append((
            str(name) or "all", str(int(mine.sum())),
            *(f"{100 * float(each[mine].mean()):.2f} %" for each in right),
            _said(found),
            f"{errors[0]:.4f}, {errors[1]:.4f}",
        ))  # fmt: skip
    return aligned(rows)


def _said(found: Gain) -> str:
    return (
        f"{100 * found.value:+.2f} points ({100 * found.low:+.2f} to {100 * found.high:+.2f}), "
        f"{found.won} against {found.lost}, p {found.p:.2g}"
    )


def _shares(path: Path, labels: Sequence[str], inputs: Sequence[Input]) -> NDArray[np.float32]:
    """Return what a package says of each input: (n, labels), before any threshold of none."""
    judge = Judge(package_in(path))
    if judge.manifest.routing.labels != list(labels):
        raise DistillError(f"{path} has other labels than the recipe")
    soft = next((each for each in judge.manifest.post if isinstance(each, ScoresSoftmax)), None)
    return softmax(judge.logits(inputs) / np.float32(soft.temperature if soft else 1.0))


def package_in(path: Path) -> Path:
    """Return the package's folder, of itself or of a run.

    Raises:
        DistillError: there is none.
    """
    folder = path if (path / "expert.toml").exists() else path / "package"
    if not (folder / "expert.toml").exists():
        raise DistillError(f"{path} is neither a package nor the folder of a finished run")
    return folder


def _read(path: Path) -> Manifest:
    return read_manifest(package_in(path))


def _size(manifest: Manifest) -> int:
    return manifest.model.size if manifest.model else 0


def _labels(left: Manifest, right: Manifest) -> tuple[str, str]:
    ours, theirs = set(left.routing.labels), set(right.routing.labels)
    return (
        f"{len(ours)}"
        + (f", alone: {', '.join(sorted(ours - theirs)[:5])}" if ours - theirs else ""),
        f"{len(theirs)}"
        + (f", alone: {', '.join(sorted(theirs - ours)[:5])}" if theirs - ours else ""),
    )


def _figures(left: Manifest, right: Manifest) -> list[str]:
    keyed = [{(each.name, each.data): each for each in one.card.figures} for one in (left, right)]
    shared = [key for key in keyed[0] if key in keyed[1]]
    rows = [("figure", "first", "second", "difference", "n", "on")]
    for key in shared:
        one, other = keyed[0][key], keyed[1][key]
        apart = "" if _overlap(one, other) else " *"
        rows.append((
            key[0], _value(one), _value(other), f"{other.value - one.value:+.4f}{apart}",
            str(one.samples), key[1],
        ))  # fmt: skip
    alone = [len(each) - len(shared) for each in keyed]
    return [
        *aligned(rows),
        "",
        "* the 95 % intervals do not touch"
        + (
            f"; {alone[0]} and {alone[1]} figures are on other data and not compared"
            if any(alone)
            else ""
        ),
    ]


def _value(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def _overlap(one: Figure, other: Figure) -> bool:
    """Tell whether two intervals touch; a figure without one is taken to touch."""
    if one.low is None or other.low is None or one.high is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines whose cells stand under each other."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
