"""`aiosd-update`, or `python -m aiosd.update`: started by its timer or by `aiosctl update run`."""

import argparse
import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from aiosd.domain.errors import ConfigError
from aiosd.domain.update import PASSING, Fault, UpdateError
from aiosd.store import failpoint
from aiosd.store.layout import Layout
from aiosd.store.update_settings import read_own
from aiosd.update.bar import Bar, Quiet, size
from aiosd.update.lean import keep_out
from aiosd.update.outcome import Outcome
from aiosd.update.surroundings import environment_variables
from aiosd.update.wish import Wish

# sysexits(3), as aiosctl has them too.
OK = 0
REFUSED = 1
EX_UNAVAILABLE = 69
CANCELLED = 73
EX_TEMPFAIL = 75
EX_CONFIG = 78
_AWAY = frozenset({Fault.UNREACHABLE, Fault.STALLED, Fault.TLS, Fault.BROKEN_OFF})


def main(arguments: list[str] | None = None) -> int:
    """Run once, and return the exit status."""
    options = _parser().parse_args(arguments)
    keep_out()
    try:
        from aiosd.update.main import run  # noqa: PLC0415 - what is kept out is kept out by now
    except ModuleNotFoundError as error:
        _complain(f"config: {error}; it comes with: pip install 'aiosd[update]'")
        return EX_CONFIG
    failpoint.arm(environment_variables().get(failpoint.VARIABLE, ""))
    logging.basicConfig(level="WARNING", stream=sys.stderr, format="%(message)s")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    on_terminal = sys.stderr.isatty() and not options.json
    show = Bar(sys.stderr, time.monotonic) if on_terminal else Quiet()
    wish = Wish(tuple(options.experts), only_check=options.check, anyway=options.now)
    chosen = options.config or Layout().settings
    try:
        own = read_own(chosen, must_exist=options.config is not None)
        outcomes = run(own, wish, show)
    except ConfigError as error:
        _complain(f"config: {error}")
        return EX_CONFIG
    except UpdateError as error:
        show.end()
        return _failed(error, as_json=options.json)
    _tell(outcomes, as_json=options.json)
    return _status([each.fault for each in outcomes if each.fault is not None])


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End by way of every `with`: what came is kept, and the next run goes on from there."""
    del frame
    name = signal.Signals(number).name
    raise UpdateError(Fault.CANCELLED, f"stopped by {name}; the next run goes on from here")


def _status(faults: list[Fault]) -> int:
    """Return the exit status for what went wrong; the worst counts."""
    if not faults:
        return OK
    if any(fault is Fault.CANCELLED for fault in faults):
        return CANCELLED
    if any(fault not in PASSING for fault in faults):
        return REFUSED
    return EX_UNAVAILABLE if any(fault in _AWAY for fault in faults) else EX_TEMPFAIL


def _failed(error: UpdateError, *, as_json: bool) -> int:
    status = _status([error.fault])
    if as_json:
        report = {"code": error.fault, "message": error.message, "details": {}, "exit": status}
        _complain_raw(msgspec.json.encode({"error": report}).decode())
    else:
        _complain(str(error))
    return status


def _tell(outcomes: list[Outcome], *, as_json: bool) -> None:
    """Print how it went."""
    if as_json:
        print(msgspec.json.encode({"experts": outcomes}).decode())  # noqa: T201 - asked for
        return
    for each in outcomes:
        print(_sentence(each))  # noqa: T201
        for passed in each.passed:
            print(f"  release {passed.release} is not taken: {passed.reason}")  # noqa: T201


def _sentence(outcome: Outcome) -> str:
    """Say how it went for one expert."""
    name, number = outcome.name, outcome.release
    bytes_ = size(outcome.fetched_bytes)
    match outcome.result:
        case "staged":
            reason = f" ({outcome.reason})" if outcome.reason else f", {_cost(outcome)}"
            return f"{name}: release {number} is staged{reason}"
        case "offered":
            return f"{name}: release {number} is on offer, {bytes_} to fetch"
        case "current":
            return f"{name}: release {number} is the newest for this board"
        case "unknown":
            return f"{name}: not offered here"
        case _:
            fault = f"{outcome.fault}: " if outcome.fault else ""
            return f"{name}: {outcome.result}: {fault}{outcome.reason}"


def _cost(outcome: Outcome) -> str:
    """Say what a release cost, as far as that is not the same twice."""
    words = [f"{size(outcome.fetched_bytes)} fetched"]
    if outcome.written_bytes != outcome.fetched_bytes:
        words.append(f"{size(outcome.written_bytes)} written")
    if outcome.shared_bytes:
        words.append(f"{size(outcome.shared_bytes)} shared with what was here")
    return ", ".join(words)


def _complain(text: str) -> None:
    _complain_raw(f"aiosd-update: {text}")


def _complain_raw(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the one place


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiosd-update",
        description="Fetches and stages new releases of experts, then ends; "
        "the daemon tests and activates them.",
        epilog="Exit status: 0 all is well; 1 something was refused; 69 nobody answers; "
        "73 cancelled; 75 later; 78 a setting is wrong. docs/updates.md has the whole story.",
        allow_abbrev=False,
    )
    parser.add_argument("experts", nargs="*", metavar="EXPERT", help="these only")
    parser.add_argument("--check", action="store_true", help="say what is on offer, fetch nothing")
    parser.add_argument(
        "--now", action="store_true", help="whatever the hour, and over a metered connection too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings (default: {Layout().settings})"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
