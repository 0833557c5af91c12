"""How much a calibration is worth, on SIMULATED boards: joules of a minute against the truth.

`python -m tools.bench.calibration`: each board is a copy that takes a fifth more than published, is
calibrated by reading the simulator's wall meter to 10 mW, and then idles and works for a minute.
"""

import contextlib
import tempfile
from pathlib import Path

import msgspec

from aiosd.domain.power import CounterSample, Scope
from aiosd.sensors.meter import NoMeter, open_meter
from tools.boardsim.live import LiveBoard, Start
from tools.boardsim.owner import calibrated

BOARDS = (
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "rk3566",
    "rk3588",
    "am625",
    "imx8mq",
    "imx8m-plus",
)
MINUTE = ((15.0, 0.0), (15.0, 2.0), (15.0, 99.0), (15.0, 0.5))
_TICK = 0.5


def main() -> int:
    """Print a line for each board."""
    print("SIMULATED boards; off by: default model, calibrated at 3 clocks, at the governor's")
    for name in BOARDS:
        shares = [off(name, None), off(name, 3), off(name, 0)]
        told = ["no model" if share is None else f"{share:8.1%}" for share in shares]
        print(f"{name:<24}{'  '.join(told)}")
    return 0


def off(name: str, clocks: int | None) -> float | None:
    """Return how far a minute's joules are from the truth; None where there is no model."""
    with tempfile.TemporaryDirectory(prefix="boardsim-") as place, contextlib.ExitStack() as stack:
        live = LiveBoard(name, Path(place) / "board", Start(unit=1.2))
        stack.callback(live.close)
        state = Path(place) / "calibration.json"
        if clocks is not None:
            state.write_bytes(msgspec.json.encode(calibrated(live, clocks)))
        profile = live.tree.board.profile
        meter = open_meter(
            profile.power, live.tree.root, board=profile.name, calibration=state, clock=lambda: 0.0
        )
        stack.callback(meter.close)
        if isinstance(meter, NoMeter):
            return None
        before = live.state.joules[Scope.BOARD]
        first = last = meter.sample(live.now)
        for seconds, busy in MINUTE:
            live.tree.set("busy", str(busy))
            for _ in range(round(seconds / _TICK)):
                live.tick(live.now + _TICK)
                last = meter.sample(live.now)
        true = live.state.joules[Scope.BOARD] - before
        if not isinstance(first, CounterSample) or not isinstance(last, CounterSample):
            return None
        return abs(last.joules - first.joules - true) / true


if __name__ == "__main__":
    raise SystemExit(main())
