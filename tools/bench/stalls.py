"""A daemon whose loop is watched: what kept it from its next turn, and for how long.

`python -m tools.bench.stalls FILE --config …` is the daemon, and appends to FILE a line for each
callback that took longer than a millisecond: when it began (CLOCK_MONOTONIC), its milliseconds on
the clock and of the processor, and what it was. On a machine that others use the second figure is
the one to go by; what the first has more is others' turns, or waiting for another thread of this
process to let go of the interpreter.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiosd.daemon.__main__ import main
from aiosd.daemon.loop import DirectLoop

BAR_SECONDS = 0.001


@dataclass(frozen=True)
class Stall:
    """One callback that took long."""

    at: float
    ms: float
    cpu_ms: float
    what: str


def read(path: Path, since: float, until: float) -> list[Stall]:
    """Return what was noted of a time, the longest first."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [Stall(**json.loads(line)) for line in lines]
    return sorted(
        (each for each in found if since <= each.at <= until), key=lambda each: -each.cpu_ms
    )


def watch(path: Path) -> None:
    """Have every loop of this process note what takes long."""
    file = path.open("a", buffering=1, encoding="utf-8")

    def timed(work: Callable[[], object], what: Callable[[], str]) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        work()
        seconds = time.perf_counter() - began
        if seconds > BAR_SECONDS:
            spent = (time.thread_time() - cpu) * 1e3
            file.write(json.dumps(vars(Stall(began, seconds * 1e3, spent, what()))) + "\n")

    run, add = asyncio.Handle._run, DirectLoop.add_reader  # noqa: SLF001 - there is no other way

    def _run(self: asyncio.Handle) -> None:
        timed(lambda: run(self), lambda: _name(self._callback))

    def _add_reader(
        self: DirectLoop, fd: int, callback: Callable[..., object], *args: object
    ) -> None:
        add(self, fd, lambda: timed(lambda: callback(*args), lambda: _name(callback)))

    asyncio.Handle._run = _run  # noqa: SLF001
    DirectLoop.add_reader = _add_reader


def _name(callback: object) -> str:
    """Say what a callback is; of a task, where it waits now."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        where = [f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in task.get_stack()]
        return f"{task.get_coro().__qualname__} now at {' > '.join(where)}"
    return getattr(callback, "__qualname__", repr(callback))


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
