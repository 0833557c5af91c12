"""`python -m tools.boardsim BOARD --dir DIR`: a SIMULATED board for as long as it runs."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from aiosd.domain.errors import ConfigError
from aiosd.domain.power import Scope
from tools.boardsim.faults import Fault
from tools.boardsim.live import TRUTH, LiveBoard, Start
from tools.boardsim.shapes import ALIASES, SHAPES

_LINE_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; return the exit status."""
    chosen = _parser().parse_args(arguments)
    start = Start(
        battery=chosen.battery,
        speed=chosen.speed,
        unit=chosen.unit,
        faults=frozenset(map(Fault, chosen.fault)),
        seed=chosen.seed,
        hertz=chosen.hertz,
    )
    try:
        live = LiveBoard(chosen.board, chosen.dir, start, tuple(chosen.watch))
    except (ValueError, ConfigError) as error:
        print(f"boardsim: {error}", file=sys.stderr)
        return 2
    print(f"SIMULATED board {live.tree.board.profile.name} in {chosen.dir}; truth: {TRUTH}")
    if live.tree.board.watts_assumed:
        print("its watts are assumed: nobody published any")
    with live:
        try:
            return _follow(live, chosen.command, quiet=chosen.quiet)
        except KeyboardInterrupt:
            return 0


def _follow(live: LiveBoard, command: list[str], *, quiet: bool) -> int:
    """Say how the board is once a second, until the command ends or for ever."""
    child = subprocess.Popen(command) if command else None
    if child:
        live.watch(child.pid)
    while True:
        try:
            if child:
                return child.wait(_LINE_SECONDS)
            time.sleep(_LINE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        if not quiet:
            print(line(live), file=sys.stderr)


def line(live: LiveBoard) -> str:
    """Return how the board is."""
    state = live.state
    parts = [
        f"simulated {state.seconds:7.1f} s",
        f"{state.watts[Scope.BOARD]:6.2f} W",
        f"{state.celsius:5.1f} °C",
        f"{sum(state.busy):4.1f} cores at {max(state.khz) / 1e6:.2f} GHz",
    ]
    if state.battery is not None:
        parts.append(f"battery {state.battery:.1%}")
    parts += ["throttled"] if state.throttled else []
    parts += [*sorted(live.tree.faults)]
    return "  ".join(parts + ([live.error] if live.error else []))


def _parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.boardsim",
        description="A SIMULATED board: a folder with its /sys, /proc and device tree.",
        epilog=f"Boards: {', '.join(SHAPES)}; for short {', '.join(ALIASES)}.",
    )
    parser.add_argument("board", help="a profile's name, or a short one")
    parser.add_argument("--dir", type=Path, required=True, help="the folder to make")
    parser.add_argument("--watch", type=int, nargs="*", default=[], metavar="PID")
    parser.add_argument("--fault", choices=list(Fault), nargs="*", default=[])
    parser.add_argument("--battery", type=float, help="what is left in it, 0 to 1")
    parser.add_argument("--speed", type=float, default=1.0, help="heat and battery so much faster")
    parser.add_argument("--unit", type=float, default=1.0, help="all watts times this")
    parser.add_argument("--seed", type=int, default=1, help="of the instruments' noise")
    parser.add_argument("--hertz", type=float, default=20.0, help="how often files are written")
    parser.add_argument("--quiet", action="store_true", help="no line a second")
    parser.add_argument(
        "--run", dest="command", nargs=argparse.REMAINDER, default=[], help="a command to watch"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
