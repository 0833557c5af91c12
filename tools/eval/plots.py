"""Curves as PNG, where matplotlib is installed (`pip install 'aiosd[tools]'`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_STYLES = {"random": ":", "oracle": "--"}


def draw(curves: Mapping[str, Mapping[str, NDArray[np.float64]]], folder: Path | None) -> str:
    """Draw quality against the share that goes up; return where to, or why not."""
    if folder is None:
        return "no plots: --plots DIR says where to"
    try:
        import matplotlib as mpl  # noqa: PLC0415 - only for plots
    except ModuleNotFoundError:
        return "no plots: matplotlib is not installed (pip install 'aiosd[tools]')"
    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after its backend is chosen

    folder.mkdir(parents=True, exist_ok=True)
    for name, of in curves.items():
        figure, axes = plt.subplots(figsize=(6.4, 4.9), layout="constrained")
        for what, quality in of.items():
            up = np.linspace(0, 100, len(quality))
            axes.plot(up, quality * 100, _STYLES.get(what, "-"), label=what, linewidth=1.4)
        # All go to the better of the two, whatever that sends up.
        single = max(max(quality[0], quality[-1]) for quality in of.values()) * 100
        axes.axhline(single, color="0.3", linestyle="-.", linewidth=0.9, label="single best")
        axes.axvline(5, color="0.7", linewidth=0.8)
        axes.set(title=name, xlabel="sent up, % of requests", ylabel="right, %")
        axes.grid(visible=True, linewidth=0.3)
        figure.legend(fontsize=8, loc="outside lower center", ncols=3)
        slug = "".join(char if char.isalnum() else "-" for char in name.split(",")[0].lower())
        figure.savefig(folder / f"escalation-{slug}.png", dpi=110)
        plt.close(figure)
    return f"plots: {len(curves)} in {folder}"
