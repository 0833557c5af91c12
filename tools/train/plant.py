"""Series of our own making like those of machines, servers and roads, most with a fault or two.

Nothing here comes from a benchmark. They differ from `recurring` in that they wander, are noisy,
are counts or come in bursts: what a detector must be quiet about although it never quite repeats.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tools.train.nab import Series

Floats = NDArray[np.float64]
Form = Callable[[NDArray[np.int64], int, np.random.Generator], Floats]


def wander(count: int, memory: float, rng: np.random.Generator) -> Floats:
    """Return an autoregressive series of deviation 1 whose memory fades over `memory` samples."""
    keep = float(np.exp(-1 / memory))
    steps = rng.normal(0, np.sqrt(1 - keep * keep), count)
    values = np.empty(count)
    last = float(rng.normal())
    for place in range(count):
        last = keep * last + steps[place]
        values[place] = last
    return values


def daily(t: NDArray[np.int64], p: int, rng: np.random.Generator) -> Floats:
    """Return a day of two harmonics, some with weaker weekends: peak to peak about 4."""
    phase = 2 * np.pi * t / p + rng.uniform(0, 6.3)
    week = 1 - rng.choice([0, 0.4]) * (t // p % 7 >= 5)
    return (np.sin(phase) + 0.4 * np.sin(2 * phase + rng.uniform(0, 6.3))) * 2 * week


def spikes(count: int, rate: float, rng: np.random.Generator) -> Floats:
    """Return short spikes of differing height at random places, `rate` of them per sample."""
    high = (rng.random(count) < rate) * rng.uniform(3, 10, count)
    return high + 0.5 * np.concatenate([[0.0], high[:-1]])


def bursts(count: int, rng: np.random.Generator) -> Floats:
    """Return a load that is on for a while and off for a while, at random."""
    values = np.zeros(count)
    place = 0
    while place < count:
        off, on = int(rng.exponential(60)) + 5, int(rng.exponential(25)) + 3
        values[place + off : place + off + on] = rng.uniform(2, 4)
        place += off + on
    return values


def counts(t: NDArray[np.int64], p: int, rng: np.random.Generator) -> Floats:
    """Return counts of events with a day in them."""
    rate = rng.choice([3.0, 20.0, 100.0]) * (1.2 + np.sin(2 * np.pi * t / p))
    return rng.poisson(rate).astype(np.float64) / np.sqrt(rate.mean())


FORMS: dict[str, Form] = {
    "steady": lambda t, _, rng: rng.normal(size=len(t)),
    "daily": lambda t, p, rng: daily(t, p, rng) + rng.normal(0, rng.uniform(0.1, 0.8), len(t)),
    "wander": lambda t, p, rng: (
        wander(len(t), rng.uniform(20, 3 * p), rng) * 2 + rng.normal(0, 0.5, len(t))
    ),
    "mixed": lambda t, p, rng: daily(t, p, rng) + wander(len(t), p / 2, rng),
    "spikes": lambda t, _, rng: (
        spikes(len(t), rng.uniform(0.005, 0.05), rng) + rng.normal(0, 0.5, len(t))
    ),
    "bursts": lambda t, _, rng: bursts(len(t), rng) + rng.normal(0, 0.3, len(t)),
    "counts": counts,
    "heavy": lambda t, _, rng: rng.standard_t(3, len(t)),
}


def fault(values: Floats, rng: np.random.Generator, start: int) -> int:
    """Put one fault into `values` at `start`; return its end."""
    length = int(rng.integers(15, max(30, len(values) // 20)))
    end = min(len(values), start + length)
    part = values[start:end]
    strength = rng.uniform(4, 10) * float(rng.choice([-1, 1])) * max(float(values.std()), 1e-3)
    match int(rng.integers(0, 8)):
        case 0:
            part += strength
        case 1:
            part += strength * np.linspace(0, 1, len(part))
        case 2:
            part[:] = part[0]
        case 3:
            part[:] = float(values.min()) - abs(strength) / 4
        case 4:
            part += rng.normal(0, abs(strength) / 2, len(part))
        case 5:
            end = min(len(values), start + int(rng.integers(1, 4)))
            values[start:end] += 1.5 * strength
        case 6:
            part[:] = np.median(values) + (part - np.median(values)) * 2.5 + strength / 3
        case _:
            part += (rng.random(len(part)) < 0.3) * strength
    return end


def with_faults(
    values: NDArray[np.float64],
    put: Callable[[NDArray[np.float64], np.random.Generator, int], int],
    last: float,
    rng: np.random.Generator,
) -> tuple[tuple[int, int], ...]:
    """Put 0 to 2 faults into `values`, none after the share `last`; return the labelled windows.

    A window is the fault and 3 % of the series on both sides. `put` returns a fault's end.
    """
    windows = []
    for low, high in ((0.2, 0.5), (0.62, last))[: int(rng.integers(0, 3))]:
        start = int(rng.uniform(low, high) * len(values))
        end = put(values, rng, start)
        margin = round(0.03 * len(values))
        windows.append((max(0, start - margin), min(len(values), end + margin)))
    return tuple(windows)


def in_some_unit(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return them as a sensor of any zero and scale would read them."""
    return float(rng.choice([0, 20, 1000])) + float(rng.choice([0.01, 1, 30])) * values


def plant(count: int, seed: int) -> list[Series]:
    """Return `count` series of 800 to 5,000 samples, five minutes apart, with 0 to 2 faults.

    A labelled window is the fault and 3 % of the series on both sides.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        name = list(FORMS)[index % len(FORMS)]
        length = int(rng.integers(800, 5000))
        places = np.arange(length)
        values = FORMS[name](places, int(rng.choice([48, 96, 144, 288])), rng)
        windows = with_faults(values, fault, 0.9, rng)
        values = in_some_unit(values, rng)
        found.append(
            Series(f"plant/{name}-{index}", values, windows, places * 300.0, held_out=True)
        )
    return found
