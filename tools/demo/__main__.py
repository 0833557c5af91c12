"""`make demo`: real requests to five real experts that do not all fit, and what happens then."""

import csv
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aiosd.client import Client
from aiosd.domain.errors import AiosdError
from aiosd.domain.request import Outcome
from tools.demo.private_daemon import DaemonError, PrivateDaemon, alive
from tools.demo.table import columns, heading, note, paint, row

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ROOT / "docs" / "examples" / "inputs"
MIB = 2**20

# Of what all five experts need together, this much fits beside the engine hosts.
SHARE = 0.65
HOST_SECONDS = 30.0

Ask = Callable[[Client], Outcome]


def main() -> int:
    """Run the demonstration; return the exit status."""
    packages = [ROOT / "experts" / name for name in (*questions(), "echo")]
    daemon = PrivateDaemon(packages, profiles=ROOT / "board-profiles")
    try:
        with daemon, daemon.client() as client:
            return show(daemon, client)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (DaemonError, AiosdError) as error:
        print(f"demo: {error}", file=sys.stderr)
        print(daemon.said(), file=sys.stderr)
        return 1


def questions() -> dict[str, tuple[str, Ask]]:
    """Return what each expert is asked: what it looks like, and the call."""
    message = (INPUTS / "spam.txt").read_text(encoding="utf-8").strip()
    question = "how do i change the oil in my car"
    command = "set an alarm for 8 am tomorrow"
    pump = [float(line[-1]) for line in list(csv.reader((INPUTS / "pump.csv").open()))[1:]]
    return {
        "digits": (
            "seven.png, a digit drawn by hand",
            lambda client: client.run(image=INPUTS / "seven.png", expert="digits"),
        ),
        "sms-spam": (
            f"“{message[:44]}…”",
            lambda client: client.run(text=message, expert="sms-spam"),
        ),
        "assistant-intent": (
            f"“{question}”",
            lambda client: client.run(text=question, expert="assistant-intent"),
        ),
        "home-command": (
            f"“{command}”, as it was spoken",
            lambda client: client.run(text=command, expert="home-command"),
        ),
        "machine-anomaly": (
            f"pump.csv, {len(pump)} temperatures of a pump",
            lambda client: client.run(series=pump, expert="machine-anomaly"),
        ),
    }


def show(daemon: PrivateDaemon, client: Client) -> int:
    """Ask everybody twice, then break things on purpose."""
    seen = follow(daemon)
    squeeze(daemon, client)
    heading("What is asked")
    for name, (looks, _) in questions().items():
        note(name.ljust(17), looks)
    ram = 0.0
    asked = list(questions().items())
    for turn, order in (
        ("First round: nothing is loaded yet", asked),
        ("Second round, in reverse: who came last is still there", asked[::-1]),
    ):
        heading(turn)
        columns(joules=knows_joules(client))
        for name, (_, ask) in order:
            ram = max(ram, ask_and_show(client, name, ask, seen))
    bad = break_request(client)
    crash = break_worker(client, seen)
    return end(daemon, client, ram, fine=bad and crash)


def end(daemon: PrivateDaemon, client: Client, ram: float, *, fine: bool) -> int:
    """Say what it came to, stop the daemon, and return the exit status."""
    heading("The end")
    status = client.status()
    counts = cast("dict[str, int]", status["requests"])
    cap = cast("int", status["ram_cap_bytes"]) / MIB
    evictions = cast("int", status["evictions"])
    note("answered", f"{counts['answered']}, with {counts['cold_loads']} loads", "good")
    note("evicted ", f"{evictions} times; at most {ram:.0f} MiB of {cap:.0f} MiB in use", "good")
    if knows_joules(client):
        books = client.energy()
        parts = [cast("float", books[key]) for key in ("meter_joules", "idle_joules")]
        where = f"{books['source']}, {books['scope']}"
        note("energy  ", f"{parts[0]:.1f} J, {parts[1]:.1f} J idle ({where})", "good")
    left = processes(client)
    code = daemon.stop()
    orphans = [pid for pid in left if not gone(pid)]
    note("stopped ", f"exit status {code}, {len(orphans)} processes left behind", "good")
    fine = fine and code == 0 and not orphans and evictions > 0 and ram <= cap
    print(f"\n{paint('All as it should be.' if fine else 'Something went wrong.', 'bold')}")
    return 0 if fine else 1


def squeeze(daemon: PrivateDaemon, client: Client) -> None:
    """Set a RAM cap that holds the engine hosts and a part of the experts only."""
    heading("A private daemon")
    start = time.monotonic()
    hosts = wait_for_hosts(client)
    needs = {
        each["name"]: each["need_bytes"]
        for each in cast("list[dict[str, int]]", client.list()["experts"])
        if each["name"] != "echo"
    }
    cap = int(sum(hosts.values()) + SHARE * sum(needs.values()))
    daemon.configure(f'[ram]\ncap = "{cap}"\n')
    client.reload()
    named = ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in hosts.items())
    note("hosts   ", f"{named} (ready after {time.monotonic() - start:.1f} s)")
    note("experts ", f"{len(needs)}, which need {sum(needs.values()) / MIB:.0f} MiB together")
    note("RAM cap ", f"{cap / MIB:.0f} MiB for all of it, so not every expert fits")


def knows_joules(client: Client) -> bool:
    """Tell whether this board has a meter, or a model of its power."""
    power = cast("dict[str, str]", client.status()["power"])
    return power["source"] != "none"


def wait_for_hosts(client: Client) -> dict[str, int]:
    """Return what each engine host holds, once all are up."""
    until = time.monotonic() + HOST_SECONDS
    while True:
        hosts = cast("list[dict[str, object]]", client.ps()["hosts"])
        sizes = {str(host["engine"]): cast("int", host["held_bytes"]) for host in hosts}
        if all(sizes.values()) and sizes:
            return sizes
        if time.monotonic() > until:
            raise DaemonError("an engine host did not come up; see: aiosctl doctor")


def follow(daemon: PrivateDaemon) -> list[str]:
    """Collect what the daemon publishes, in the background."""
    seen: list[str] = []

    def listen() -> None:
        with daemon.client() as client:
            try:
                for event in client.events(["expert.evicted", "expert.failed"]):
                    why = event.facts.get("why") or event.facts.get("reason")
                    seen.append(f"{event.facts['expert']}: {why}")
            except AiosdError:
                return

    threading.Thread(target=listen, daemon=True).start()
    return seen


def ask_and_show(client: Client, name: str, ask: Ask, seen: list[str]) -> float:
    """Ask one expert, print the row and who had to leave; return the MiB in use afterwards."""
    outcome = ask(client)
    usage = outcome.usage
    used = cast("int", client.status()["ram_used_bytes"]) / MIB
    while seen:
        note("↳ leaves ", seen.pop(0), "cold")
    row(
        name,
        summary(outcome),
        "cold" if outcome.cold else "warm",
        [
            usage.queue_ms,
            usage.load_ms,
            usage.run_ms,
            (usage.ram_bytes or 0) / MIB,
            None if usage.joules is None else usage.joules * 1e3,
        ],
    )
    return used


def summary(outcome: Outcome) -> str:
    """Return an answer in a few words."""
    output = outcome.output
    if "value" in output:
        value = cast("dict[str, dict[str, str]]", output["value"])
        return f"{value['intent']}: {', '.join(value['slots'].values())}"
    if "spans" in output:
        spans = cast("list[list[int]]", output["spans"])
        places = ", ".join(f"{first}–{last}" for first, last in spans)
        return f"anomaly at {places}" if output.get("anomaly") else "nothing unusual"
    if "label" in output:
        return f"{output['label']} ({cast('float', output['score']):.1%})"
    return json.dumps(output)


def break_request(client: Client) -> bool:
    """Send something that is no image; return whether a typed error came."""
    heading("Bad input: a text file sent as an image")
    try:
        client.run(image=b"this is no image", expert="digits")
    except AiosdError as error:
        note(error.code.value, f"field {error.field}: {error.message}", "good")
        return error.code.value == "invalid"
    note("no error", "that is wrong", "bad")
    return False


def break_worker(client: Client, seen: list[str]) -> bool:
    """Crash a worker while it answers; return whether the rest went on."""
    heading("A crash: the echo expert is told to die of a segmentation fault")
    code = ""
    try:
        client.run(text="!crash segv", expert="echo")
    except AiosdError as error:
        code = error.code.value
        note(code, error.message, "good")
    again = client.run(text="still there?", expert="echo")
    note("next    ", f"answered by a new worker: {json.dumps(again.output)}", "good")
    seen.clear()
    return code == "expert_failed" and again.cold


def processes(client: Client) -> list[int]:
    """Return the pids of all hosts and workers."""
    listing = client.ps()
    rows = cast("list[dict[str, object]]", listing["experts"]) + cast(
        "list[dict[str, object]]", listing["hosts"]
    )
    return [cast("int", each["pid"]) for each in rows if each["pid"]]


def gone(pid: int) -> bool:
    """Tell whether a process ends within a second."""
    until = time.monotonic() + 1.0
    while alive(pid):
        if time.monotonic() > until:
            return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
