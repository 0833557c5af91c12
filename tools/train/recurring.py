"""Series of our own making in which rare things come back: every hour, every day, every week.

Half of them have one fault. What recurs is no anomaly, however far from the median it lies: this is
what the expert was designed against, beside the training series of the benchmark.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tools.train.nab import Series

Floats = NDArray[np.float64]
Form = Callable[[NDArray[np.int64], int, np.random.Generator], Floats]

FORMS: dict[str, Form] = {
    "shift": lambda t, p, _: ((t % p > p * 0.3) & (t % p < p * 0.7)) * 1.0,
    "pulse": lambda t, p, rng: (t % p < 3) * rng.uniform(0.8, 1.2, len(t)),
    "ramp": lambda t, p, _: t % p / p,
    "week": lambda t, p, _: np.sin(2 * np.pi * t / p) * (1 - 0.5 * (t // p % 7 >= 5)),
    "working": lambda t, p, _: (t // p % 7 < 5) * ((t % p > p * 0.3) & (t % p < p * 0.7)) * 1.0,
    "peaks": lambda t, p, _: np.abs(np.sin(np.pi * t / p)) ** 8,
}


def fault(values: Floats, rng: np.random.Generator) -> tuple[Floats, tuple[int, int]]:
    """Return the series with one fault (raised, stuck, upside down or a spike), and where."""
    start, length = int(rng.integers(1500, 3600)), int(rng.integers(8, 120))
    changed, end = values.copy(), start + length
    match int(rng.integers(0, 4)):
        case 0:
            changed[start:end] += rng.uniform(3, 8)
        case 1:
            changed[start:end] = changed[start]
        case 2:
            part = changed[start:end]
            changed[start:end] = 2 * values.mean() - part + rng.normal(0, 2, len(part))
        case _:
            changed[start] += 12
            end = start + 1
    return changed, (start, end)


def recurring(count: int, seed: int) -> list[Series]:
    """Return `count` series of 4,000 samples, five minutes apart; every other one has a fault.

    The labelled window is the fault and 60 samples on both sides.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        name = list(FORMS)[index % len(FORMS)]
        places = np.arange(4000)
        values = FORMS[name](places, int(rng.choice([96, 144, 288])), rng)
        values = 10 + 5 * values + 5 * rng.choice([0, 0.02, 0.1]) * rng.normal(size=4000)
        windows: tuple[tuple[int, int], ...] = ()
        if index // len(FORMS) % 2:
            values, (start, end) = fault(values, rng)
            windows = ((max(0, start - 60), min(4000, end + 60)),)
        found.append(Series(f"own/{name}-{index}", values, windows, places * 300.0, held_out=True))
    return found
