"""Whether a watt cap holds on a SIMULATED board: real daemon, real workers, made-up watts."""

import argparse
import contextlib
import tempfile
import threading
import time
from pathlib import Path
from typing import cast

from aiosd.domain.errors import AiosdError
from aiosd.domain.power import Scope
from tools.boardsim.live import LiveBoard, Start
from tools.demo.private_daemon import PrivateDaemon

ROOT = Path(__file__).resolve().parents[2]
WORK = (("echo", "!tokens 20000"), ("home-command", "set an alarm for 8 am tomorrow"))
WINDOW = 5


def main() -> int:
    """Run the measurement and print it; return 0 if the cap held."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.power", description=__doc__)
    parser.add_argument("--board", default="raspberry-pi-5")
    parser.add_argument("--cap", type=float, default=4.0, help="watts; 0 for none")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    print(f"SIMULATED board {options.board}, cap {options.cap:g} W")
    joules, counts = measure(options.board, options.cap, options.seconds)
    half = len(joules) // 2
    mean = (joules[-1] - joules[half]) / (len(joules) - 1 - half)
    worst = max(
        (later - sooner) / WINDOW
        for sooner, later in zip(joules[WINDOW:], joules[2 * WINDOW :], strict=False)
    )
    print(f"answered {counts['answered']}, refused {counts['refused']}")
    print(f"mean of the last half    {mean:.2f} W")
    print(f"largest mean over {WINDOW} s    {worst:.2f} W")
    if not options.cap:
        return 0
    held = mean <= options.cap * 1.03 and worst <= options.cap * 1.15
    print("the cap held" if held else "the cap did NOT hold")
    return 0 if held else 1


def measure(board: str, cap: float, seconds: int) -> tuple[list[float], dict[str, int]]:
    """Return the true joules of what the meter covers at each second, and the requests' ends."""
    counts = {"answered": 0, "refused": 0}
    joules: list[float] = []
    with tempfile.TemporaryDirectory(prefix="boardsim-") as place, contextlib.ExitStack() as stack:
        live = stack.enter_context(LiveBoard(board, Path(place) / "board", Start()))
        settings = f'[board]\nsysroot = "{live.tree.root}"\n[power]\ncap_watts = {cap}\n'
        packages = [ROOT / "experts" / name for name, _ in WORK]
        daemon = PrivateDaemon(packages, settings, profiles=ROOT / "board-profiles")
        stack.enter_context(daemon)
        if daemon.process is not None:
            live.watch(daemon.process.pid)
        with daemon.client() as client:
            power = cast("dict[str, str]", client.status()["power"])
        scope = Scope(power["scope"])
        print(f"{power['meter']}: {power['source']} of the {scope}")
        until = time.monotonic() + seconds
        apps = [
            threading.Thread(target=ask, args=(daemon, name, text, until, counts))
            for name, text in WORK
        ]
        for app in apps:
            app.start()
        start = time.monotonic()
        for second in range(seconds):
            threading.Event().wait(max(0.0, start + second - time.monotonic()))
            joules.append(live.state.joules[scope])
        for app in apps:
            app.join()
    return joules, counts


def ask(
    daemon: PrivateDaemon, expert: str, text: str, until: float, counts: dict[str, int]
) -> None:
    """Be an app that asks without pause, and heeds what a refusal says."""
    with daemon.client() as client:
        while time.monotonic() < until:
            try:
                client.run(text=text, expert=expert)
                counts["answered"] += 1
            except AiosdError as error:
                counts["refused"] += 1
                threading.Event().wait(min(1.0, error.retry_after_seconds or 0.2))


if __name__ == "__main__":
    raise SystemExit(main())
