"""`make demo BOARD=rpi5`: the daemon on a SIMULATED board, its figures beside the true ones.

What runs is real: the daemon, its experts, their CPU time. The board is not: its watts, heat and
battery come from `tools/boardsim` (see `docs/boardsim.md`).
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from aiosd.client import Client
from aiosd.domain.errors import AiosdError
from aiosd.domain.power import EnergySource, Scope
from tools.boardsim.faults import Fault
from tools.boardsim.live import LiveBoard, Start
from tools.demo.__main__ import ROOT, questions
from tools.demo.private_daemon import DaemonError, PrivateDaemon
from tools.demo.table import heading, note, paint

LOAD_SECONDS = 8.0
# Heat and battery hurry, so that something is seen of them; the files are as new as the daemon
# looks at them, which is 50 times a second at most.
SPEED = 10.0
START = Start(battery=0.8, speed=SPEED, hertz=50.0)
MEASURED = {"ina3221", "rpi-pmic", "rapl"}
RECOVERY_SECONDS = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration on the board that is named; return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("demo: name one board, such as: make demo BOARD=rpi5", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="boardsim-") as place:
        try:
            live = LiveBoard(given[0], Path(place) / "board", START)
        except ValueError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 2
        packages = [ROOT / "experts" / name for name in questions()]
        settings = f'[board]\nsysroot = "{live.tree.root}"\n'
        daemon = PrivateDaemon(packages, settings, profiles=ROOT / "board-profiles")
        try:
            with live, daemon, daemon.client() as client:
                return show(live, daemon, client)
        except (DaemonError, AiosdError) as error:
            print(f"demo: {error}", file=sys.stderr)
            print(daemon.said(), file=sys.stderr)
            return 1


def show(live: LiveBoard, daemon: PrivateDaemon, client: Client) -> int:
    """Ask everybody, work for a while, break the meter; return the exit status."""
    if daemon.process is not None:
        live.watch(daemon.process.pid)
    board, status = live.tree.board, client.status()
    power = power_of(client)
    print(paint("SIMULATED board: no figure below was measured on hardware.", "warm"))
    heading("What the daemon found")
    note("profile ", f"{status['board']} ({status['profile_reason']})")
    note("meter   ", f"{power['meter']}: {power['source']} of the {power['scope']}")
    for reason in cast("list[str]", power["passed_over"]):
        note("not     ", reason)
    if board.watts_assumed:
        note("watts   ", "the simulator's are assumed: nobody published any")
    joules(client)
    work(live, client)
    fine = break_meter(live, client) if power["meter"] in MEASURED else True
    fine = status["board"] == board.profile.name and fine
    print(f"\n{paint('All as it should be.' if fine else 'Something went wrong.', 'bold')}")
    return 0 if fine else 1


def power_of(client: Client) -> dict[str, object]:
    """Return what the daemon says of power."""
    return cast("dict[str, object]", client.status()["power"])


def joules(client: Client) -> None:
    """Ask every expert twice, and print what each answer says that it took."""
    heading("What an answer takes, as the daemon says")
    for name, (looks, ask) in questions().items():
        for _ in range(2):
            usage = ask(client).usage
            took = "no figure"
            if usage.joules is not None:
                took = f"{usage.joules * 1e3:8.2f} mJ ± {(usage.joules_uncertainty or 0) * 1e3:.2f}"
            note(name.ljust(17), f"{took:24} {usage.joules_source:26} {looks[:28]}")


def work(live: LiveBoard, client: Client) -> None:
    """Keep one expert busy, and print each second what the daemon counted and what is true."""
    heading(f"{LOAD_SECONDS:.0f} s of work (heat and battery run {SPEED:.0f} times as fast)")
    ask = questions()["home-command"][1]
    ask(client)
    first = last = Count.of(live, client)
    while last.at - first.at < LOAD_SECONDS:
        ask(client)
        if time.monotonic() - last.at >= 1.0:
            now, state = Count.of(live, client), live.state
            note(
                f"{now.at - first.at:4.0f} s  ",
                f"{now.since(last)}   {state.celsius:5.1f} °C  {max(state.khz) / 1e6:.2f} GHz"
                f"  battery {state.battery or 0:.1%}",
            )
            last = now
    note("in all  ", last.since(first), "good")


@dataclass(frozen=True)
class Count:
    """Joules at one moment: by the daemon (None without a meter) and in truth, of one scope."""

    at: float
    said: float | None
    true: float
    scope: Scope

    @classmethod
    def of(cls, live: LiveBoard, client: Client) -> Self:
        """Return how the counts stand."""
        scope = Scope(cast("str", power_of(client)["scope"]))
        energy = client.energy()
        said = (
            None if energy["source"] == EnergySource.NONE else cast("float", energy["meter_joules"])
        )
        return cls(time.monotonic(), said, live.state.joules[scope], scope)

    def since(self, other: "Count") -> str:
        """Return the mean watts since then, in words."""
        seconds = self.at - other.at
        true = (self.true - other.true) / seconds
        told = "no figure"
        if self.said is not None and other.said is not None:
            told = f"{(self.said - other.said) / seconds:6.2f} W"
        return f"daemon {told:9}  truth {true:6.2f} W of the {self.scope}"


def break_meter(live: LiveBoard, client: Client) -> bool:
    """Let the meter's files fail, and come back; return whether the daemon said so both times."""
    heading("The meter breaks: its files answer with an I/O error")
    live.tree.set("faults", Fault.IO_ERROR)
    broken = until(client, silent=True)
    note("says    ", broken or "nothing, which is wrong", "good" if broken else "bad")
    usage = questions()["digits"][1](client).usage
    note("answer  ", f"still given; its joules: {usage.joules_source}")
    live.tree.set("faults", "")
    start = time.monotonic()
    back = until(client, silent=False) == ""
    note("recovers", f"by itself after {time.monotonic() - start:.1f} s" if back else "not", "good")
    return bool(broken) and back


def until(client: Client, *, silent: bool) -> str:
    """Ask on until the meter is silent, or speaks again; return its reason at the end.

    Without requests the daemon looks at its meter twice a minute only.
    """
    end = time.monotonic() + RECOVERY_SECONDS
    while True:
        questions()["sms-spam"][1](client)
        reason = str(power_of(client)["silence"])
        if bool(reason) is silent or time.monotonic() > end:
            return reason
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
