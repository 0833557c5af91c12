"""A simulated board in a folder, stepped through simulated time."""

from pathlib import Path
from typing import ClassVar

from aiosd.boards.machine import read_machine
from aiosd.boards.profiles import Picked, pick_profile
from aiosd.domain.power import CounterSample, PowerSample, Sample
from aiosd.sensors.meter import NoMeter, OpenMeter, open_meter
from tools.boardsim.live import LiveBoard, Start
from tools.boardsim.shapes import PROFILES


class Simulated:
    """A board, and a meter on it once `open_meter` was called.

    Those that are alive are closed by `close_all`, after each test.
    """

    alive: ClassVar[list["Simulated"]] = []

    def __init__(self, name: str, root: Path, start: Start | None = None) -> None:
        self.root = root
        self.live = LiveBoard(name, root, start or Start())
        self.meter: OpenMeter | NoMeter | None = None
        self.alive.append(self)

    @classmethod
    def close_all(cls) -> None:
        """Close the boards and their meters."""
        for board in cls.alive:
            board.live.close()
            if board.meter is not None:
                board.meter.close()
        cls.alive.clear()

    def pick(self) -> Picked:
        """What the daemon finds."""
        model = read_machine(self.root / "proc").cpu_model
        return pick_profile([PROFILES], self.root / "proc/device-tree", cpu_model=model)

    def open_meter(self) -> OpenMeter | NoMeter:
        """Open the meter that the found profile chooses."""
        profile = self.pick().profile
        self.meter = meter = open_meter(
            profile.power, self.root, board=profile.name, clock=lambda: self.live.now
        )
        return meter

    def go(self, seconds: float, busy: float = 0.0, dt: float = 0.5) -> None:
        """Let time pass with so many cores busy."""
        self.live.tree.set("busy", str(busy))
        for _ in range(round(seconds / dt)):
            self.live.tick(self.live.now + dt)

    def sample(self) -> Sample:
        """Ask the meter now."""
        assert self.meter is not None
        return self.meter.sample(self.live.now)

    def measure(self, phases: list[tuple[float, float]], dt: float = 0.5) -> tuple[float, ...]:
        """Go through (seconds, busy cores); return (true, read, stated error) in joules."""
        assert self.meter is not None
        scope = self.meter.scope
        before = self.live.state.joules[scope]
        first = self.sample()
        read = stated = 0.0
        for seconds, busy in phases:
            self.live.tree.set("busy", str(busy))
            for _ in range(round(seconds / dt)):
                self.live.tick(self.live.now + dt)
                sample = self.sample()
                if isinstance(sample, PowerSample):
                    read += sample.watts * dt
                    stated += sample.uncertainty_watts * dt
                elif isinstance(sample, CounterSample) and isinstance(first, CounterSample):
                    read = sample.joules - first.joules
                    stated = read * sample.uncertainty_share
        return self.live.state.joules[scope] - before, read, stated
