"""Traces: which request comes when, and the simulated experts that answer it.

Generated ones depend on their seed alone. A file has one JSON object a line: either an expert
(`{"expert": "cat", "bytes": 40000000, ...}`, fields of `Model`) or a request (`{"at": 1.5,
"model": "cat", ...}`, fields of `Ask`).
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Model:
    """A simulated expert: its true peak, what is computed of it before a load, and its pace.

    Of its peak `context_bytes` go when it is parked, and all but `process_bytes` when its pages go
    too; without a context it cannot be parked. Coming back then takes `context_seconds`, and where
    its pages had gone `pages_seconds` on top.

    `cpu_seconds` is the work of a usual request on one thread, `parallel` the part of it that more
    threads speed up, `smaller` another expert of the same task.
    """

    expert: str
    bytes: int
    need_bytes: int
    load_seconds: float
    cpu_seconds: float = 0.3
    parallel: float = 0.9
    units: float = 20.0
    smaller: str = ""
    keep_alive_seconds: float = 300.0
    context_bytes: int = 0
    process_bytes: int = 0
    context_seconds: float = 0.0
    pages_seconds: float = 0.0

    @property
    def mapped_bytes(self) -> int:
        """What of its peak is mapped from its file."""
        return self.bytes - self.context_bytes - self.process_bytes if self.context_bytes else 0


@dataclass(frozen=True)
class Ask:
    """One request; `size` scales its work."""

    at: float
    model: str
    client: str = "anna"
    size: float = 1.0
    background: bool = False


@dataclass(frozen=True)
class Trace:
    """Experts and requests, and for how long others keep how many cores busy."""

    name: str
    models: tuple[Model, ...]
    asks: tuple[Ask, ...]
    seconds: float
    others: tuple[tuple[float, float], ...] = ()


def parkable(model: Model, start_seconds: float) -> Model:
    """Return a text expert that can be parked, its parts as measured of real ones of its size.

    Measured with `python -m tools.bench.parking` and a context of 2048 on x86-64: of 15.7, 64 and
    157 MB that GGUF experts held, 6.6, 26 and 43 MB were their context, and 6 to 7 MB the process;
    making a context took 0.56 ms of CPU time a MB, mostly page faults. A board's core is taken to
    be four times as slow (an assumption). `start_seconds` of a load are neither reading nor the
    context. The page cache is taken to keep nothing: pages that were given up are read again.
    """
    megabytes = model.bytes / MB
    context = min(0.42 * megabytes, 14 + 0.18 * megabytes)
    context_seconds = context * 0.56e-3 * 4
    return replace(
        model,
        context_bytes=int(context * MB),
        process_bytes=int(6.5 * MB),
        context_seconds=context_seconds,
        pages_seconds=max(model.load_seconds - start_seconds - context_seconds, 0.0),
    )


def house(chance: random.Random, count: int = 12) -> tuple[Model, ...]:
    """Return experts of 20 to 150 MB; text models take longer to load by size than tensor ones."""
    models = []
    for number in range(count):
        size = int(chance.uniform(20, 150) * MB)
        text = chance.random() < 0.5
        megabytes = size / MB
        load = 0.3 + megabytes / chance.uniform(60, 120) if text else 0.05 + megabytes / 300
        model = Model(
            expert=f"{'text' if text else 'tensor'}-{number:02}",
            bytes=size,
            need_bytes=int(size * chance.uniform(1.0, 1.12)),
            load_seconds=load,
            cpu_seconds=chance.uniform(0.2, 1.0) if text else chance.uniform(0.01, 0.1),
            units=40.0 if text else 1.0,
        )
        models.append(parkable(model, 0.3) if text else model)
    return tuple(models)


def _sizes(chance: random.Random) -> float:
    """Return a request's size: usual ones near 1, few much larger."""
    return min(chance.lognormvariate(0.0, 0.4), 5.0)


def zipf(seed: int, seconds: float = 3600.0, every: float = 2.0, skew: float = 1.0) -> Trace:
    """Requests at random moments, few experts asked for often and many seldom."""
    chance = random.Random(seed)
    models = house(chance)
    names = [each.expert for each in models]
    chance.shuffle(names)
    weights = [1 / (rank + 1) ** skew for rank in range(len(names))]
    asks, now = [], 0.0
    while (now := now + chance.expovariate(1 / every)) < seconds:
        name = chance.choices(names, weights)[0]
        asks.append(Ask(now, name, chance.choice(("anna", "ben", "cleo")), _sizes(chance)))
    return Trace("zipf", models, tuple(asks), seconds)


def bursts(seed: int, seconds: float = 3600.0) -> Trace:
    """A minute of many requests to a handful of experts, then a pause; others are busy too."""
    chance = random.Random(seed)
    models = house(chance)
    asks, others, now = [], [], 0.0
    while now < seconds:
        end = now + chance.uniform(20, 90)
        some = chance.sample(models, 4)
        while (now := now + chance.expovariate(3.0)) < end:
            asks.append(Ask(now, chance.choice(some).expert, "anna", _sizes(chance)))
        others += [(now, chance.uniform(0.1, 0.6)), (now + chance.uniform(5, 20), 0.0)]
        now = end + chance.expovariate(1 / 60)
    kept = tuple(each for each in asks if each.at < seconds)
    return Trace("bursts", models, kept, seconds, tuple(others))


def day(seed: int, seconds: float = 86400.0, every: float = 4.0) -> Trace:
    """Day and night: a request every few seconds at noon, hardly any at night, jobs beside."""
    chance = random.Random(seed)
    models = house(chance)
    names = [each.expert for each in models]
    weights = [1 / (rank + 1) for rank in range(len(names))]
    asks, now = [], 0.0
    while (now := now + chance.expovariate(1 / every)) < seconds:
        light = 0.5 - 0.5 * math.cos(2 * math.pi * now / 86400.0)
        if chance.random() < 0.05 + 0.95 * light:
            asks.append(Ask(now, chance.choices(names, weights)[0], "anna", _sizes(chance)))
        if chance.random() < 0.02:
            asks.append(Ask(now, chance.choice(names), "batch", 3.0, background=True))
    return Trace("day", models, tuple(asks), seconds)


def thrash(seed: int, seconds: float = 600.0, every: float = 0.5, *, parks: bool = False) -> Trace:
    """A B A B: two experts of which only one fits a cap of 256 MB, asked for in turn."""
    chance = random.Random(seed)
    models = tuple(
        Model(name, 140 * MB, 150 * MB, load_seconds=1.5, cpu_seconds=0.1) for name in ("A", "B")
    )
    if parks:
        models = tuple(parkable(each, 0.3) for each in models)
    count = int(seconds / every)
    asks = tuple(
        Ask(every * (number + chance.uniform(0.0, 0.2)), "AB"[number % 2], "ab"[number % 2])
        for number in range(count)
    )
    return Trace("thrash", models, asks, seconds)


def adversary(seed: int, seconds: float = 3600.0) -> Trace:
    """What an enemy of the books would send: all experts at once, in waves, largest first."""
    chance = random.Random(seed)
    models = house(chance, 16)
    ranked = sorted(models, key=lambda each: -each.bytes)
    asks, now = [], 0.0
    while now < seconds:
        order = ranked if chance.random() < 0.5 else chance.sample(ranked, len(ranked))
        for model in order:
            for _ in range(chance.randrange(1, 4)):
                asks.append(Ask(now, model.expert, chance.choice("abcd"), _sizes(chance)))
                now += chance.choice((0.0, 0.0, 0.01, 0.3))
        now += chance.expovariate(1 / 10)
    kept = tuple(each for each in asks if each.at < seconds)
    return Trace("adversary", models, kept, seconds)


def saturated(seed: int, seconds: float = 900.0) -> Trace:
    """More work of one expert than the board can do at full speed, in requests of a second."""
    chance = random.Random(seed)
    model = Model("llm", 100 * MB, 105 * MB, load_seconds=1.0, cpu_seconds=2.0, units=30)
    tiny = Model("llm-tiny", 30 * MB, 32 * MB, load_seconds=0.4, cpu_seconds=0.5, units=30)
    asks, now = [], 0.0
    while (now := now + 0.5) < seconds:
        asks.append(Ask(now, "llm", "anna", _sizes(chance)))
    return Trace("saturated", (model, tiny), tuple(asks), seconds)


TRACES: dict[str, Callable[[int], Trace]] = {
    "zipf": zipf,
    "bursts": bursts,
    "day": day,
    "thrash": thrash,
    "adversary": adversary,
    "saturated": saturated,
}


def trace_of(name: str, seed: int) -> Trace:
    """Return a generated trace by its name, or the one of a file."""
    return TRACES[name](seed) if name in TRACES else read_trace(Path(name))


def read_trace(path: Path) -> Trace:
    """Read a recorded trace.

    Raises:
        ValueError: a line is no expert and no request; the message says which.
    """
    models: list[Model] = []
    asks: list[Ask] = []
    for number, row in _rows(path):
        try:
            if "expert" in row:
                models.append(Model(**row))
            else:
                asks.append(Ask(**row))
        except TypeError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    asks.sort(key=lambda each: each.at)
    seconds = asks[-1].at + 60.0 if asks else 0.0
    unknown = {each.model for each in asks} - {each.expert for each in models}
    if unknown:
        raise ValueError(f"{path}: no line describes the expert {min(unknown)!r}")
    return Trace(path.stem, tuple(models), tuple(asks), seconds)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the lines that hold something, with their numbers."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            yield number, json.loads(line)
