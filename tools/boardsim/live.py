"""A SIMULATED board in real time: watches processes, steps the model, writes folder and truth."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.boardsim.faults import Fault
from tools.boardsim.load import ProcessTree
from tools.boardsim.model import SimulatedBoard, State
from tools.boardsim.shapes import find_board
from tools.boardsim.tree import BoardTree

TRUTH = "simulator/truth.jsonl"
# A machine that slept is not simulated through.
_LONGEST_STEP = 5.0


@dataclass(frozen=True)
class Start:
    """How a simulated board starts: see `SimulatedBoard` and `BoardTree`.

    `hertz` is how often the files are written when it runs in a thread.
    """

    battery: float | None = None
    speed: float = 1.0
    unit: float = 1.0
    faults: frozenset[Fault] = frozenset()
    seed: int = 1
    hertz: float = 20.0


class LiveBoard:
    """A board that runs in a thread of its own while the context is open.

    Without the context, `tick` moves it through simulated time, one step a call.

    The truth is one JSON object a step in `simulator/truth.jsonl`: `t` is CLOCK_MONOTONIC, watts
    and joules are by scope.

    Raises:
        ValueError: no such board, or the folder holds something else.
    """

    def __init__(
        self, name: str, root: Path, start: Start = Start(), pids: tuple[int, ...] = ()
    ) -> None:
        """Build the folder; nothing moves before the context opens."""
        board = find_board(name)
        self.model = SimulatedBoard(
            board, battery=start.battery, speed=start.speed, unit=start.unit
        )
        self.tree = BoardTree(root, board, self.model.state, faults=start.faults, seed=start.seed)
        self.error = ""
        self._hertz = start.hertz
        self._load = ProcessTree(list(pids))
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="boardsim", daemon=True)
        self._truth = (root / TRUTH).open("w", encoding="ascii", buffering=1)

    def __enter__(self) -> Self:
        """Start."""
        self._last = time.monotonic()
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; the folder stays as it is."""
        self._stopped.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Close the files of a board that was never started, or has stopped."""
        self._truth.close()
        self.tree.close()

    def watch(self, pid: int) -> None:
        """Let this process and its descendants drive the board as well."""
        self._load.watch(pid)

    @property
    def state(self) -> State:
        """The truth now."""
        return self.model.state

    @property
    def now(self) -> float:
        """The moment of the monotonic clock that the board has been brought to."""
        return self._last

    def tick(self, now: float) -> State:
        """Go on to the moment `now` of the monotonic clock."""
        dt = now - self._last
        self._last = now
        if dt <= 0:
            return self.model.state
        try:
            self.model.around = self.tree.around()
            self.error = ""
        except ValueError as error:
            self.error = str(error)
        self.model.limits = self.tree.limits()
        self.tree.cgroups.visit()
        busy = self.tree.cgroups.allowed(self._load.busy_cores(dt), dt) + self.tree.extra_busy
        state = self.model.step(min(dt, _LONGEST_STEP), busy)
        held = self._load.resident()
        self.tree.cgroups.hold(held)
        self.tree.show(state, sum(held.values()) + self.tree.taken_bytes)
        self._note()
        return state

    def _note(self) -> None:
        """Write the truth down."""
        line = truth_line(self.model.state, self._last, sorted(self.tree.faults))
        self._truth.write(line + "\n")

    def _run(self) -> None:
        """Step until the context closes."""
        while not self._stopped.wait(1 / self._hertz):
            self.tick(time.monotonic())


def truth_line(state: State, now: float, faults: list[Fault]) -> str:
    """Return one line of the truth."""
    return json.dumps(
        {
            "t": round(now, 4),
            "watts": {scope: round(value, 4) for scope, value in state.watts.items()},
            "joules": {scope: round(value, 4) for scope, value in state.joules.items()},
            "celsius": round(state.celsius, 2),
            "busy_cores": round(sum(state.busy), 3),
            "khz": state.khz,
            "throttled": state.throttled,
            "battery": None if state.battery is None else round(state.battery, 6),
            "faults": faults,
        }
    )
