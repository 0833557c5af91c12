"""Whether a watt cap holds on a SIMULATED board: real daemon, real workers, made-up watts.

`--sweep` looks for the fixed setting (threads, cores) that holds the same cap and does most work,
and sets the governor beside it. Work is tokens written by text experts with random weights.
"""

import argparse
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from aiosd.boards.profiles import read_profiles
from aiosd.domain.errors import AiosdError
from aiosd.domain.power import Scope
from tools.bench import instrumented
from tools.bench.crowd import write_packages
from tools.boardsim.live import LiveBoard, Start
from tools.demo.private_daemon import PrivateDaemon

ROOT = Path(__file__).resolve().parents[2]
GRID_SECONDS = 0.5
# What a cap allows beyond itself: over a minute, and over any five seconds.
SLACK = {60.0: 0.03, 5.0: 0.15}
TOKENS = 20
APPS = 2


@dataclass
class Found:
    """What a run left: the true joules by the half second, what was written, what it took."""

    joules: list[float] = field(default_factory=list)
    tokens: int = 0
    answered: int = 0
    refused: int = 0
    governor_share: float = 0.0
    power: dict[str, object] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return (len(self.joules) - 1) * GRID_SECONDS

    @property
    def speed(self) -> float:
        """Tokens a second over the whole run."""
        return self.tokens / self.seconds

    def worst(self, window: float) -> float:
        """Return the largest mean power over any window of that length, or over the whole run."""
        steps = min(round(window / GRID_SECONDS), len(self.joules) - 1)
        pairs = zip(self.joules, self.joules[steps:], strict=False)
        return max((later - sooner) / (steps * GRID_SECONDS) for sooner, later in pairs)

    def holds(self, cap: float) -> bool:
        """Tell whether every window kept the cap."""
        return all(self.worst(window) <= cap * (1 + slack) for window, slack in SLACK.items())


def main() -> int:
    """Run the measurement and print it; return 0 if what was looked for was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.power", description=__doc__)
    parser.add_argument("--board", default="raspberry-pi-5")
    parser.add_argument("--cap", type=float, default=4.0, help="watts; 0 for none")
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--sweep-seconds", type=int, default=20, help="for each fixed setting")
    options = parser.parse_args()
    print(f"SIMULATED board {options.board}, cap {options.cap:g} W, {APPS} apps that never pause")
    with tempfile.TemporaryDirectory(prefix="aiosd-power-") as place:
        bench = Bench(options.board, options.cap, write_packages(Path(place), APPS))
        found = bench.measure(options.seconds)
        show("governor", found, options.cap)
        print(f"governor's own CPU share: {found.governor_share:.2%} of a core")
        print(f"at the end: idle {found.power['idle_watts']} W, {found.power['allowance']}")
        if not options.cap:
            return 0
        held = found.holds(options.cap)
        print("the cap held" if held else "the cap did NOT hold")
        if options.sweep:
            held = bench.sweep(options.sweep_seconds, found) and held
    return 0 if held else 1


def show(what: str, found: Found, cap: float) -> None:
    """Print one run."""
    worst = ", ".join(f"{window:.0f} s {found.worst(window):.2f} W" for window in SLACK)
    holds = "" if not cap else ", holds" if found.holds(cap) else ", does NOT hold"
    print(
        f"{what}: {found.speed:.0f} tokens/s, answered {found.answered}, refused {found.refused}; "
        f"worst means: {worst}{holds}",
        flush=True,
    )


class Bench:
    """One board, one cap, one kind of work."""

    def __init__(self, board: str, cap: float, packages: list[Path]) -> None:
        self.board, self.cap, self.packages = board, cap, packages

    def sweep(self, seconds: int, governed: Found) -> bool:
        """Try fixed settings, the largest that holds of each number of threads; compare."""
        best, name = 0.0, "none"
        for threads in (1, 2):
            for step in range(12):
                # From four fifths of what the profile says, by fifths, until it does not hold.
                cores = min(0.8 * self.cores() * 1.25**step, float(threads))
                found = self.measure(seconds, (threads, cores / threads))
                show(f"fixed {threads} threads, {cores:.2f} cores", found, self.cap)
                holds = found.holds(self.cap)
                if holds and found.speed > best:
                    best, name = found.speed, f"{threads} threads, {cores:.2f} cores"
                if not holds or cores == threads:
                    break
        share = governed.speed / best if best else float("inf")
        print(f"best fixed setting that holds: {name}; the governor does {share:.2f} of it")
        return share >= 0.9

    def cores(self) -> float:
        """Return the busy cores that the cap pays for by the board's profile."""
        profile = read_profiles([ROOT / "board-profiles"])[self.board]
        idle, load = profile.power.idle_watts or 0.0, profile.power.load_watts or 0.0
        return (self.cap - idle) / max((load - idle) / profile.threads, 1e-3)

    def measure(self, seconds: int, pinned: tuple[int, float] | None = None) -> Found:
        """Run for so long; `pinned` are the threads and the duty of a fixed setting."""
        found = Found()
        with self._running(pinned) as (live, daemon, cost):
            scope = self._scope(daemon)
            for package in self.packages:
                with daemon.client() as client:
                    client.run(text="e e e", expert=package.name, max_tokens=4)
            begun = time.monotonic()
            apps = [
                threading.Thread(target=ask, args=(daemon, package.name, begun + seconds, found))
                for package in self.packages
            ]
            for app in apps:
                app.start()
            for step in range(round(seconds / GRID_SECONDS) + 1):
                due = begun + step * GRID_SECONDS
                threading.Event().wait(max(0.0, due - time.monotonic()))
                found.joules.append(live.state.joules[scope])
            with daemon.client() as client:
                found.power = cast("dict[str, object]", client.status()["power"])
            for app in apps:
                app.join()
            daemon.stop()
            took = json.loads(cost.read_text(encoding="utf-8"))
            found.governor_share = took["cpu_seconds"] / took["seconds"]
        return found

    @contextlib.contextmanager
    def _running(
        self, pinned: tuple[int, float] | None
    ) -> Iterator[tuple[LiveBoard, PrivateDaemon, Path]]:
        """Start a board and a daemon on it."""
        with tempfile.TemporaryDirectory(prefix="boardsim-") as place:
            cost = Path(place) / "cost.json"
            with LiveBoard(self.board, Path(place) / "board", Start()) as live:
                settings = (
                    f'[board]\nsysroot = "{live.tree.root}"\n[power]\ncap_watts = {self.cap}\n'
                    "[engines]\nthreads = 2\n"
                )
                daemon = PrivateDaemon(self.packages, settings, profiles=ROOT / "board-profiles")
                daemon.program = "tools.bench.instrumented"
                daemon.environment = {instrumented.COST: str(cost)}
                if pinned:
                    daemon.environment[instrumented.PIN] = f"{pinned[0]},{pinned[1]}"
                with daemon:
                    if daemon.process is not None:
                        live.watch(daemon.process.pid)
                    yield live, daemon, cost

    def _scope(self, daemon: PrivateDaemon) -> Scope:
        """Return what the board's meter covers."""
        with daemon.client() as client:
            power = cast("dict[str, str]", client.status()["power"])
        return Scope(power["scope"])


def ask(daemon: PrivateDaemon, expert: str, until: float, found: Found) -> None:
    """Be an app that asks without pause, and heeds what a refusal says."""
    with daemon.client() as client:
        while time.monotonic() < until:
            try:
                answer = client.run(
                    text="e e e", expert=expert, max_tokens=TOKENS, timeout_seconds=120
                )
                found.answered += 1
                if time.monotonic() < until:
                    found.tokens += answer.usage.tokens_out or 0
            except AiosdError as error:
                found.refused += 1
                threading.Event().wait(min(1.0, error.retry_after_seconds or 0.2))


if __name__ == "__main__":
    raise SystemExit(main())
