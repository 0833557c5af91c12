"""Two releases side by side: sizes, steps, figures on the same data, and who says what for whom."""

from pathlib import Path

from aiosd.domain.manifest import Figure, Manifest
from tools.distill.engine import read_manifest
from tools.distill.fault import DistillError


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
    return [*_table(rows), "", *_figures(left, right)]


def _read(path: Path) -> Manifest:
    folder = path if (path / "expert.toml").exists() else path / "package"
    if not (folder / "expert.toml").exists():
        raise DistillError(f"{path} is neither a package nor the folder of a finished run")
    return read_manifest(folder)


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
        *_table(rows),
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


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
