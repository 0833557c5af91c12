"""The daemon as it is, but for two things that only a bench wants: a pinned allowance, a stopwatch.

`python -m tools.bench.instrumented --config FILE`, as `aiosd` is started. $AIOSD_BENCH_PIN holds
"THREADS,DUTY": the power governor's answer is then always that one. $AIOSD_BENCH_COST names a file:
at its end the daemon writes there what its telemetry, energy books and governor took, as JSON.
"""

import atexit
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiosd.daemon import command as daemon
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.domain.allowance import Admission, Allowance
from aiosd.policy.power.power_governor import PowerGovernor

PIN, COST = "AIOSD_BENCH_PIN", "AIOSD_BENCH_COST"
WATCHED = ("_tick", "_read", "_decide", "started", "ended", "admit", "predict")


class Stopwatch:
    """CPU seconds of this thread within the outermost of the watched calls."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.calls = 0
        self.begun = time.monotonic()
        self._depth = 0

    def watch(self, owner: type, name: str) -> None:
        """Measure a method from now on."""
        method: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: object, **keywords: object) -> object:
            if self._depth:
                return method(*arguments, **keywords)
            self._depth += 1
            start = time.thread_time()
            try:
                return method(*arguments, **keywords)
            finally:
                self._depth -= 1
                self.cpu_seconds += time.thread_time() - start
                self.calls += 1

        setattr(owner, name, measured)

    def write(self, path: Path) -> None:
        """Write what was found."""
        seconds = time.monotonic() - self.begun
        found = {"cpu_seconds": self.cpu_seconds, "seconds": seconds, "calls": self.calls}
        path.write_text(json.dumps(found), encoding="utf-8")


def pin(threads: int, duty: float) -> None:
    """Have every governor allow this and nothing else."""

    def allowance(governor: PowerGovernor, _now: float) -> Allowance:
        return Allowance(
            cap_watts=governor.rules.cap_watts,
            why=("pinned by a bench",),
            threads=threads,
            duty=duty,
            background=False,
            prefer_smaller=False,
            admit=Admission.NOW,
        )

    PowerGovernor.allowance = allowance  # type: ignore[method-assign]


def main() -> int:
    """Be the daemon."""
    pinned = os.environ.get(PIN)
    if pinned:
        threads, _, duty = pinned.partition(",")
        pin(int(threads), float(duty))
    cost = os.environ.get(COST)
    if cost:
        watch = Stopwatch()
        for name in WATCHED:
            watch.watch(Telemetry, name)
        atexit.register(watch.write, Path(cost))
    return daemon.main()


if __name__ == "__main__":
    raise SystemExit(main())
