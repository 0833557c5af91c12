"""A third kind of series of our own making: equipment that works in cycles. No training sees it.

Duty cycles, pumps whose period drifts, compressors that ramp up, tanks, batteries, slow
temperatures, coarse meters and loads of several levels. Their faults are those of equipment: stuck
on or off, slow to follow, another period, a failure that creeps in, an offset, a bearing's noise, a
reading that is frozen. Written before any candidate was compared by it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tools.train.nab import Series
from tools.train.plant import in_some_unit, with_faults

Floats = NDArray[np.float64]
Form = Callable[[int, np.random.Generator], Floats]


def starts_of(
    count: int, period: float, jitter: float, drift: float, rng: np.random.Generator
) -> Floats:
    """Return the starts of cycles whose period wanders by `drift` and jitters, shares of it."""
    at, now = -rng.uniform(0, period), period
    found = []
    while at < count:
        found.append(at)
        now = np.clip(now + rng.normal(0, drift * period), 0.6 * period, 1.6 * period)
        at += max(4.0, now * (1 + rng.normal(0, jitter)))
    return np.array([*found, at])


def within(count: int, starts: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return of each sample the number of its cycle, its age in it, and the cycle's length."""
    places = np.arange(count)
    number = np.clip(np.searchsorted(starts, places, side="right") - 1, 0, len(starts) - 2)
    return number, places - starts[number], starts[number + 1] - starts[number]


def duty(count: int, rng: np.random.Generator) -> Floats:
    """Return a load that is on for about the same share of every cycle."""
    starts = starts_of(count, rng.uniform(20, 150), rng.uniform(0, 0.1), 0, rng)
    share = rng.uniform(0.2, 0.7, len(starts)) * 0.2 + rng.uniform(0.2, 0.6)
    number, age, span = within(count, starts)
    return (age < share[number] * span) * 4.0


def pump(count: int, rng: np.random.Generator) -> Floats:
    """Return strokes with a surge at their beginning; the period drifts."""
    starts = starts_of(
        count, rng.uniform(15, 80), rng.uniform(0.02, 0.1), rng.uniform(0.005, 0.03), rng
    )
    on = rng.uniform(4, 10)
    _, age, _ = within(count, starts)
    return (age < on) * (3 + np.exp(-age / 2))


def compressor(count: int, rng: np.random.Generator) -> Floats:
    """Return pressure that builds up and falls exponentially."""
    starts = starts_of(count, rng.uniform(60, 200), rng.uniform(0.02, 0.15), 0, rng)
    slow, share = rng.uniform(4, 20), rng.uniform(0.3, 0.6)
    _, age, span = within(count, starts)
    falling = 4 * np.exp(-(age - share * span) / slow)
    return np.where(age < share * span, 4 * (1 - np.exp(-age / slow)), falling)


def tank(count: int, rng: np.random.Generator) -> Floats:
    """Return a level that is drawn down evenly to this or that and filled at once."""
    starts = starts_of(count, rng.uniform(50, 250), rng.uniform(0.1, 0.3), 0, rng)
    low = rng.uniform(0, 1, len(starts))
    number, age, span = within(count, starts)
    return 4 - (4 - low[number]) * age / span


def battery(count: int, rng: np.random.Generator) -> Floats:
    """Return a charge that falls through most of a day, more or less deep, and is restored."""
    starts = starts_of(count, float(rng.choice([144, 288])), 0.03, 0, rng)
    deep = rng.uniform(0.4, 1, len(starts))
    number, age, span = within(count, starts)
    used = np.where(age < 0.7 * span, age / (0.7 * span), (1 - age / span) / 0.3)
    return 4 - 4 * deep[number] * used


def slow(count: int, rng: np.random.Generator) -> Floats:
    """Return a temperature that walks slowly and has a day."""
    values = np.cumsum(rng.normal(0, 0.05, count))
    values -= np.linspace(0, values[-1], count)
    day = np.sin(2 * np.pi * np.arange(count) / rng.choice([144, 288])) * rng.uniform(0.5, 2)
    return values / max(float(values.std()), 0.1) + day


def meter(count: int, rng: np.random.Generator) -> Floats:
    """Return a day with noise, read in coarse steps."""
    day = np.sin(2 * np.pi * np.arange(count) / rng.choice([96, 288])) * 1.5
    values = 2 + day + rng.normal(0, 0.4, count)
    step = float(rng.choice([0.5, 1.0]))
    return np.round(values / step) * step


def regimes(count: int, rng: np.random.Generator) -> Floats:
    """Return a load of three levels, each with a noise of its own, for irregular times."""
    starts = starts_of(count, rng.uniform(100, 400), 0.4, 0, rng)
    level = rng.choice([0, 1.5, 4], len(starts))
    number, _, _ = within(count, starts)
    return level[number] + (0.1 + 0.15 * level[number]) * rng.normal(size=count)


FORMS: dict[str, Form] = {
    "duty": duty,
    "pump": pump,
    "compressor": compressor,
    "tank": tank,
    "battery": battery,
    "slow": slow,
    "meter": meter,
    "regimes": regimes,
}


def fault(values: Floats, rng: np.random.Generator, start: int) -> int:
    """Put one fault into `values` at `start`; return its end."""
    length = int(rng.integers(24, max(48, len(values) // 25)))
    end = min(len(values), start + length)
    part = values[start:end]
    spread = max(float(values.std()), 1e-3)
    high, low = np.quantile(values, [0.98, 0.02])
    match int(rng.integers(0, 8)):
        case 0:
            part[:] = high + rng.normal(0, 0.03 * spread, len(part))
        case 1:
            part[:] = low + rng.normal(0, 0.03 * spread, len(part))
        case 2:
            now = float(part[0])
            for place, value in enumerate(part):
                now += (float(value) - now) * 0.08
                part[place] = now
        case 3:
            places = np.arange(len(part))
            faster = (places * rng.choice([2.5, 0.3])) % max(len(part) - 1, 1)
            part[:] = np.interp(faster, places, part.copy())
        case 4:
            end = min(len(values), start + 3 * length)
            part = values[start:end]
            part += np.linspace(0, rng.uniform(3, 6) * spread, len(part)) * rng.choice([-1, 1])
        case 5:
            part += rng.uniform(1.5, 4) * spread * rng.choice([-1, 1])
        case 6:
            part += rng.normal(0, rng.uniform(0.8, 2) * spread, len(part))
        case _:
            part[:] = part[0]
    return end


def cycling(count: int, seed: int) -> list[Series]:
    """Return `count` series of 1,000 to 4,500 samples, five minutes apart, with 0 to 2 faults.

    A labelled window is the fault and 3 % of the series on both sides.
    """
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        name = list(FORMS)[index % len(FORMS)]
        length = int(rng.integers(1000, 4500))
        values = FORMS[name](length, rng)
        noise = rng.choice([0, 0.03, 0.15]) * max(float(values.std()), 0.1)
        values = values + noise * rng.normal(size=length)
        windows = with_faults(values, fault, 0.88, rng)
        values = in_some_unit(values, rng)
        seconds = np.arange(length) * 300.0
        found.append(Series(f"cycling/{name}-{index}", values, windows, seconds, held_out=True))
    return found
