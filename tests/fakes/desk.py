"""An owner who reads a simulated board's external meter, in simulated time."""

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from fakes.simulated import Simulated

from aiosd.cli.walk import Step
from aiosd.domain.power import CpuReading, Scope
from aiosd.sensors.cpu import CpuGauge

LIMIT = "sys/devices/system/cpu/cpufreq/{policy}/scaling_max_freq"


class SimulatedDesk:
    """Its answers are the truth of the whole board, to the 10 mW that a USB meter shows.

    `slips` are answers given instead of the truth, by the number of the question, from 1.
    """

    def __init__(self, board: Simulated, slips: dict[int, str] | None = None) -> None:
        self.board = board
        self.gauge = CpuGauge(board.root)
        self.said: list[str] = []
        self.answers: deque[str] = deque()
        self._slips = slips or {}
        self.asked = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, question: str) -> str:
        if "watts" not in question:
            return self.answers.popleft() if self.answers else ""
        self.asked += 1
        watts = self.board.live.state.watts[Scope.BOARD]
        return self._slips.get(self.asked, f"{watts:.2f}") + "\n"

    def wait(self, seconds: float) -> None:
        live = self.board.live
        for _ in range(round(seconds / 0.5)):
            live.tick(live.now + 0.5)

    def read(self) -> CpuReading:
        return self.gauge.read(self.board.live.now)

    @contextlib.contextmanager
    def load(self, step: Step) -> Iterator[None]:
        path = self._path(step)
        found = path.read_text() if path else ""
        self.board.live.tree.set("busy", str(len(step.cpus)))
        if path:
            path.write_text(f"{step.khz}\n")
        try:
            yield
        finally:
            self.board.live.tree.set("busy", "0")
            if path:
                path.write_text(found)
            self.wait(1.0)

    def _path(self, step: Step) -> Path | None:
        return self.board.root / LIMIT.format(policy=step.policy) if step.khz else None
