"""A calibration from its first question to its file: an owner's meter, a model of this board."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiosd.boards.profiles import pick_profile
from aiosd.cli.clocks import Clocks, find_clocks, spread
from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.readings import read_readings
from aiosd.cli.render import Paper
from aiosd.cli.spinner import spinning
from aiosd.cli.walk import IDLE_READINGS, Step, Walk, plan, refused
from aiosd.client import Client
from aiosd.domain.calibration import Calibration, Observation
from aiosd.domain.errors import AiosdError, ConfigError, InvalidError, UnreachableError
from aiosd.domain.power import CpuReading
from aiosd.policy.energy.calibration import Fit, UnusableReadingsError, doubts, fit, misfits
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.kernel_file import ROOT, SensorError
from aiosd.store.durable import replace_file
from aiosd.store.layout import Layout

# An owner takes a moment to read and type.
_TYPING_SECONDS = 8.0
_MODE = 0o640
_MODELS = {"calibrated_model", "default_model", "none"}
_NO_TERMINAL = (
    "calibrate asks for readings, and this is no terminal; run it in one, or give it a file with "
    "--readings FILE (columns watts,policy,cores,khz: docs/aiosctl.md)"
)


@dataclass(frozen=True)
class Place:
    """Which board is calibrated, where its files are, where the result goes."""

    board: str
    root: Path
    out: Path
    running: bool
    meter: str = ""


def calibrate(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Take readings, fit, write, and let the daemon use it."""
    meter, read = read_readings(options.readings) if options.readings else ("", [])
    if not options.readings and not sys.stdin.isatty():
        raise UsageError(_NO_TERMINAL)
    place = find_place(options, client)
    _check_writable(place.out)
    try:
        if options.readings:
            found = judge(read)
        else:
            walk = _walk(options, client, place)
            found, read = walk
    except UnusableReadingsError as error:
        raise InvalidError(f"no model can be made: {error}", field="readings") from error
    calibration = found.calibration(place.board, options.meter or meter or "an owner's meter")
    write(place.out, calibration)
    used = _tell(client, place)
    if paper.as_json:
        paper.document(
            {
                "calibration": msgspec.to_builtins(calibration),
                "path": str(place.out),
                "used": used,
                "readings": [
                    {"what": each.what, "watts": each.watts, "residual_watts": over}
                    for each, over in zip(read, found.residuals, strict=True)
                ],
            }
        )
        return Exit.OK
    _report(paper, calibration, found, read)
    paper.line(f"\nwritten to {place.out}; {used}")
    return Exit.OK


def judge(observations: Sequence[Observation]) -> Fit:
    """Return the fit of readings that nobody can be asked to repeat.

    Raises:
        InvalidError: one of them makes no sense.
        UnusableReadingsError: they are too few.
    """
    for doubt in doubts(observations):
        raise refused(observations, doubt)
    found = fit(observations)
    for doubt in misfits(observations, found):
        raise refused(observations, doubt)
    return found


def find_place(options: argparse.Namespace, client: Client) -> Place:
    """Ask the daemon which board this is; without one, look.

    Raises:
        ConfigError: a profile is wrong.
    """
    power: Mapping[str, object] = {}
    board, running = "", False
    try:
        status = client.status()
    except UnreachableError:
        board = options.board or pick_profile(Layout().profiles).profile.name
    else:
        running, board = True, options.board or str(status.get("board"))
        told = status.get("power")
        power = told if isinstance(told, Mapping) else {}
    out = options.out or Path(str(power.get("calibration") or Layout().calibration))
    root = options.sysroot or Path(str(power.get("sysroot") or ROOT))
    return Place(board, root, out, running, str(power.get("source") or ""))


def _check_writable(path: Path) -> None:
    """Find out before the work that its result can be kept.

    Raises:
        ConfigError: it cannot.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} does not exist; name a file with --out", path=str(path))
    if not os.access(path.parent, os.W_OK):
        raise ConfigError("may not be written by this user; use sudo", path=str(path))


def write(path: Path, calibration: Calibration) -> None:
    """Keep the calibration, readable for the owner of the folder: the daemon's user.

    Raises:
        OSError: the disk says no; an older calibration is still there then.
    """
    replace_file(path, msgspec.json.format(msgspec.json.encode(calibration)) + b"\n")
    path.chmod(_MODE)
    folder = path.parent.stat()
    if os.geteuid() == 0:
        os.chown(path, folder.st_uid, folder.st_gid)


def _tell(client: Client, place: Place) -> str:
    """Let a running daemon use it; return what came of it."""
    if not place.running:
        return "no daemon runs; it will be used when one starts"
    try:
        client.reload()
    except AiosdError as error:
        return f"the daemon did not reload ({error.message}): aiosctl reload, as an operator"
    if place.meter not in _MODELS:
        return f"the daemon has an instrument ({place.meter}) and uses this where that fails"
    return "the daemon uses it from now on"


def _report(
    paper: Paper, calibration: Calibration, found: Fit, read: Sequence[Observation]
) -> None:
    """Print the model, how well it fits, and what that means."""
    paper.line()
    paper.table(
        ("READING", "WATTS", "MODEL", "OFF BY"),
        [
            (each.what, f"{each.watts:.2f}", f"{each.watts - over:.2f}", f"{over:+.2f}")
            for each, over in zip(read, found.residuals, strict=True)
        ],
        right="WATTS,MODEL,OFF BY",
    )
    paper.line()
    facts: dict[str, object] = {"idle": f"{calibration.idle_watts:.2f} W"}
    for cost in calibration.policies:
        points = ", ".join(f"{watts:.2f} W at {khz / 1e6:.2f} GHz" for khz, watts in cost.curve())
        facts[cost.policy] = f"a busy core adds {points}"
    span = max(each.watts for each in read) - calibration.idle_watts
    share = calibration.residual_watts / span if span > 0 else 0.0
    facts["residual"] = (
        f"{calibration.residual_watts:.2f} W, {share:.0%} of what load adds: how far the model is "
        "from the readings"
    )
    if any(len(cost.points) > 1 for cost in calibration.policies):
        facts["slower clocks"] = (
            "a cycle takes less: under a cap the clock is lowered first (if [power] helper is on)"
            if calibration.slower_clock_saves
            else "a cycle takes as much: under a cap workers rest instead"
        )
    paper.facts(facts)


# ── a terminal ────────────────────────────────────────────────────────────────────────────────


class Terminal:
    """The owner at a terminal, this machine's cores. Words go to stderr, results to stdout."""

    def __init__(self, root: Path, clocks: Clocks | None) -> None:
        """Open the CPUs.

        Raises:
            SensorError: there is no /proc/stat.
        """
        self.gauge = CpuGauge(root)
        self._clocks = clocks
        # On a simulated board the host's cores are others than those of the board.
        self._pin = root == ROOT

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)

    def ask(self, question: str) -> str:
        """Print the question and read a line."""
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(max(0.0, seconds))  # noqa: TID251 - the load has to settle

    def read(self) -> CpuReading:
        """Read the CPUs."""
        return self.gauge.read(time.monotonic())

    @contextlib.contextmanager
    def load(self, step: Step) -> Iterator[None]:
        """Hold the clock, and keep the CPUs busy."""
        with contextlib.ExitStack() as stack:
            if step.khz and self._clocks is not None:
                stack.enter_context(self._clocks.hold(step.policy, step.khz))
            if step.cpus:
                stack.enter_context(spinning(step.cpus, pin=self._pin, parent=os.getpid()))
            yield

    def close(self) -> None:
        """Close the CPUs."""
        self.gauge.close()


def _walk(
    options: argparse.Namespace, client: Client, place: Place
) -> tuple[Fit, list[Observation]]:
    """Lead the owner through it.

    Raises:
        InvalidError: the owner gave up, or a reading makes no sense.
    """
    helper = client if place.running else None
    clocks = find_clocks(place.root, helper) if options.clocks > 1 else None
    try:
        desk = Terminal(place.root, clocks)
    except SensorError as error:
        raise ConfigError(str(error)) from error
    with contextlib.closing(desk):
        policies = desk.read().policies
        wanted = {}
        if clocks is not None:
            wanted = {each.name: spread(each, place.root, options.clocks) for each in policies}
        steps = plan(policies, wanted) or [Step("all cores", tuple(range(os.cpu_count() or 1)))]
        for line in introduction(place.board, steps, options.settle, fixed=clocks is not None):
            desk.say(line)
        walk = Walk(desk, options.settle)
        try:
            desk.ask("Press Enter to begin, Ctrl-C to leave at any time. ")
            return walk.go(steps), walk.observations
        except EOFError:
            raise InvalidError("the readings ended early; nothing was written") from None


def introduction(
    board: str, steps: Sequence[Step], settle_seconds: float, *, fixed: bool
) -> Iterator[str]:
    """Yield what is going to happen, and how long it takes."""
    count = len(steps) + IDLE_READINGS
    minutes = count * (settle_seconds + _TYPING_SECONDS) / 60
    yield f"Calibration of this {board}: {count} readings, about {minutes:.0f} minutes."
    yield "Put a power meter between the supply and the board (a USB meter, or a bench supply),"
    yield "unplug what you do not need, and stop what uses the processor."
    yield (
        f"First the idle, {IDLE_READINGS} times; then one load after the other, {settle_seconds:g} "
        "s each, and I ask"
    )
    yield "for the watts: 2.41, 2410 mW, or volts and amperes as 5.12 * 0.47."
    if not fixed:
        yield "The clock stays the governor's own. With sudo, or [power] helper = true, slower"
        yield "clocks are measured too, and the model is better for half-busy boards."
