"""One picture of a replay: RAM, power, waiting; written as PNG.

Needs matplotlib, which the extra `[tools]` brings.
"""

from collections.abc import Sequence
from pathlib import Path

from tools.replay.powered import PowerRun
from tools.replay.world import Count

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
    ours = next(iter(runs.values()))
    times = [at for at, _, _ in ours.ram]
    axes[0].step(times, [books / _MB for _, books, _ in ours.ram], where="post", label="books")
    axes[0].step(
        times, [true / _MB for _, _, true in ours.ram], where="post", label="truth", lw=0.7
    )
    axes[0].axhline(cap_bytes / _MB, color="tab:red", ls="--", label="cap")
    axes[0].set_ylabel("RAM, MB")
    axes[0].legend(loc="lower right")
    for name, count in runs.items():
        axes[1].plot(*_columns(count.waiting), ".", ms=2, label=name)
    axes[1].set_yscale("symlog", linthresh=0.1)
    axes[1].set_ylabel("waited, s")
    axes[1].legend(loc="upper right")
    if power:
        axes[2].step(*_columns(_minutes(power.watts)), where="post", lw=0.7, label="power")
        if power.cap_watts:
            axes[2].axhline(power.cap_watts, color="tab:red", ls="--", label="cap set")
        caps = [(at, each.cap_watts) for at, each in power.allowances if each.cap_watts is not None]
        axes[2].step(*_columns(caps), where="post", color="tab:orange", lw=0.7, label="cap now")
        axes[2].set_ylabel("W")
        axes[2].set_ylim(bottom=0)
        axes[2].legend(loc="lower right")
    axes[-1].set_xlabel("s")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _columns(rows: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the two columns of rows."""
    return [one for one, _ in rows], [two for _, two in rows]


def _minutes(watts: Sequence[tuple[float, float]], most: int = 4000) -> list[tuple[float, float]]:
    """Return the mean power of each of at most so many stretches: a day has too many points."""
    if len(watts) <= most:
        return list(watts)
    step = (watts[-1][0] - watts[0][0]) / most
    means: list[tuple[float, float]] = []
    joules, begun = 0.0, watts[0][0]
    for (at, power), (until, _) in zip(watts, watts[1:], strict=False):
        joules += power * (until - at)
        if until - begun >= step:
            means.append((begun, joules / (until - begun)))
            joules, begun = 0.0, until
    return means
