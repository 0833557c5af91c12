"""One picture of a fleet: which release serves where, and what the publisher sends; as PNG."""

from pathlib import Path

from tools.fleet.world import DAY, Run


def draw(path: Path, title: str, runs: dict[str, Run]) -> None:
    """Draw the fleet over the days, one row for each run, and the publisher's load.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - wanted only where a plot is
    except ModuleNotFoundError:
        raise SystemExit("plots need matplotlib: pip install 'aiosd[tools]'") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after its backend is chosen

    rows = len(runs) + 1
    figure, axes = plt.subplots(rows, 1, figsize=(10, 3 * rows), sharex=True, layout="constrained")
    figure.suptitle(f"{title} (simulated)")
    for axis, (name, run) in zip(axes, runs.items(), strict=False):
        days = [sample.at / DAY for sample in run.samples]
        releases = sorted({number for sample in run.samples for number in sample.active})
        shares = [[sample.active[number] for sample in run.samples] for number in releases]
        axis.stackplot(days, *shares, labels=[f"release {number}" for number in releases])
        axis.step(days, [sample.canaries for sample in run.samples], "k", lw=0.8, label="canaries")
        axis.set_ylabel(f"boards\n{name}")
        axis.legend(loc="upper left", fontsize="small")
        right = axis.twinx()
        right.step(days, [sample.percent for sample in run.samples], "k:", lw=0.8)
        right.set_ylabel("rolled out to, %")
        right.set_ylim(0, 105)
    run = next(iter(runs.values()))
    days = [sample.at / DAY for sample in run.samples]
    axes[-1].step(days, [sample.sent_bytes / 3600 / 1e3 for sample in run.samples])
    axes[-1].set_ylabel("publisher sends, kB/s")
    axes[-1].set_xlabel("days")
    figure.savefig(path, dpi=100)
    plt.close(figure)
