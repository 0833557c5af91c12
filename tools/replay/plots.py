"""One picture of a replay: RAM, power, waiting; written as PNG.

Needs matplotlib, which the extra `[tools]` brings.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tools.replay.powered import PowerRun
from tools.replay.world import Count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MB = 1_000_000


def draw(
    path: Path, title: str, runs: dict[str, Count], power: PowerRun | None, cap_bytes: int
) -> None:
    """Draw RAM in the books and in truth, power with its cap, and how long requests waited.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - wanted only where a plot is
    except ModuleNotFoundError:
        raise SystemExit("plots need matplotlib: pip install 'aiosd[tools]'") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after its backend is chosen

    rows = 3 if power else 2
    figure, axes = plt.subplots(rows, 1, figsize=(10, 3 * rows), sharex=True, layout="constrained")
    figure.suptitle(f"{title} (simulated)")
    _ram(axes[0], next(iter(runs.values())), cap_bytes)
    for name, count in runs.items():
        axes[1].plot(*_columns(count.waiting), ".", ms=2, label=name)
    axes[1].set_yscale("symlog", linthresh=0.1)
    axes[1].set_ylabel("waited, s")
    axes[1].legend(loc="upper right")
    if power:
        _power(axes[2], power)
    axes[-1].set_xlabel("s")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _ram(axes: "Axes", count: Count, cap_bytes: int) -> None:
    """Draw the books, the truth and the cap."""
    times = [at for at, _, _ in count.ram]
    axes.step(times, [books / _MB for _, books, _ in count.ram], where="post", label="books")
    axes.step(times, [true / _MB for _, _, true in count.ram], where="post", label="truth", lw=0.7)
    axes.axhline(cap_bytes / _MB, color="tab:red", ls="--", label="cap")
    axes.set_ylabel("RAM, MB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")


def _power(axes: "Axes", power: PowerRun) -> None:
    """Draw the power, the cap that was set, and what heat and battery left of it."""
    axes.step(*_columns(_stretches(power.watts)), where="post", lw=0.7, label="power")
    if power.cap_watts:
        axes.axhline(power.cap_watts, color="tab:red", ls="--", label="cap set")
    caps = [(at, each.cap_watts) for at, each in power.allowances if each.cap_watts is not None]
    axes.step(*_columns(caps), where="post", color="tab:orange", lw=0.7, label="cap now")
    axes.set_ylabel("W")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")


def _columns(rows: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the two columns of rows."""
    return [one for one, _ in rows], [two for _, two in rows]


def _stretches(watts: Sequence[tuple[float, float]], most: int = 4000) -> list[tuple[float, float]]:
    """Return the mean power of each of at most so many stretches: a day has too many points."""
    if len(watts) <= most:
        return list(watts)
    step = (watts[-1][0] - watts[0][0]) / most
    means: list[tuple[float, float]] = []
    joules, begun = 0.0, watts[0][0]
    for (at, power), (until, _) in pairwise(watts):
        joules += power * (until - at)
        if until - begun >= step:
            means.append((begun, joules / (until - begun)))
            joules, begun = 0.0, until
    return means
