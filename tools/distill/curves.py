"""The curves of a run as a picture; matplotlib is of the extra `[distill]`."""

from pathlib import Path

from tools.distill.run_book import RunBook


def draw(book: RunBook) -> Path | None:
    """Draw every student's loss by epoch into curves.png; nothing where there is no matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - of the extra

        mpl.use("Agg")
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError:
        return None
    points = list(book.points())
    figure, axes = plt.subplots(figsize=(7, 4))
    for student in sorted({each["student"] for each in points}):
        mine = [each for each in points if each["student"] == student]
        axes.plot(
            [each["epoch"] + 1 for each in mine], [each["loss"] for each in mine], label=student
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean loss (not comparable between students)")
    axes.legend()
    figure.tight_layout()
    path = book.folder / "curves.png"
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path
