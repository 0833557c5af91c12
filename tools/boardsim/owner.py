"""An owner who calibrates a SIMULATED board: reads its external meter, in simulated time."""

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from aiosd.cli.clocks import spread
from aiosd.cli.walk import Step, Walk, plan
from aiosd.domain.calibration import Calibration
from aiosd.domain.power import CpuReading, Scope
from aiosd.sensors.cpu import CpuGauge
from tools.boardsim.live import LiveBoard

_TICK = 0.5
LIMIT = "sys/devices/system/cpu/cpufreq/{policy}/scaling_max_freq"


class SimulatedOwner:
    """Its answers are the truth of the whole board, to the 10 mW that a USB meter shows.

    `slips` are answers given instead of the truth, by the number of the question, from 1.
    """

    def __init__(self, live: LiveBoard, slips: dict[int, str] | None = None) -> None:
        """Open the board's CPUs."""
        self.live = live
        self.gauge = CpuGauge(live.tree.root)
        self.said: list[str] = []
        self.answers: deque[str] = deque()
        self._slips = slips or {}
        self.asked = 0

    def say(self, text: str) -> None:
        """Keep what the owner is told."""
        self.said.append(text)

    def ask(self, question: str) -> str:
        """Read the meter, or give the next of `answers` (just Enter if there is none)."""
        if "watts" not in question:
            return self.answers.popleft() if self.answers else ""
        self.asked += 1
        watts = self.live.state.watts[Scope.BOARD]
        return self._slips.get(self.asked, f"{watts:.2f}") + "\n"

    def wait(self, seconds: float) -> None:
        """Let simulated time pass."""
        for _ in range(round(seconds / _TICK)):
            self.live.tick(self.live.now + _TICK)

    def read(self) -> CpuReading:
        """Read the CPUs."""
        return self.gauge.read(self.live.now)

    @contextlib.contextmanager
    def load(self, step: Step) -> Iterator[None]:
        """Keep the step's cores busy, at its clock."""
        path = self._path(step)
        found = path.read_text() if path else ""
        self.live.tree.set("busy", str(len(step.cpus)))
        if path:
            path.write_text(f"{step.khz}\n")
        try:
            yield
        finally:
            self.live.tree.set("busy", "0")
            if path:
                path.write_text(found)
            self.wait(1.0)

    def _path(self, step: Step) -> Path | None:
        return self.live.tree.root / LIMIT.format(policy=step.policy) if step.khz else None

    def close(self) -> None:
        """Close the CPUs' files."""
        self.gauge.close()


def calibrated(live: LiveBoard, clocks: int = 3, settle_seconds: float = 10.0) -> Calibration:
    """Walk through a whole calibration; `clocks` 0: at the governor's clock alone."""
    owner = SimulatedOwner(live)
    with contextlib.closing(owner):
        policies = owner.read().policies
        wanted = {each.name: spread(each, live.tree.root, clocks) for each in policies}
        found = Walk(owner, settle_seconds).go(plan(policies, wanted if clocks else {}))
    return found.calibration(live.tree.board.profile.name, "the simulator's wall meter")
