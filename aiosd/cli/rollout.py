"""What an operator does about releases: `aiosctl rollback`, `hold` and `history`."""

import argparse
import time
from collections.abc import Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.look import rows_of, word
from aiosd.cli.render import Paper, cost_words
from aiosd.client import Client


def add_rollback(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `rollback`."""
    parser.add_argument("name", metavar="EXPERT", help="its name")


def add_hold(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `hold`."""
    parser.add_argument("name", metavar="EXPERT", help="its name")
    parser.add_argument(
        "switch", nargs="?", choices=("on", "off"), default="on", help="hold it (on), or no longer"
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `history`."""
    parser.add_argument("name", metavar="EXPERT", nargs="?", help="its name; without it: all")


def rollback(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Go back to the release before."""
    body = client.rollback(options.name)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    paper.line(
        f"{options.name}: release {word(body, 'active')} serves; "
        f"release {word(body, 'release')} will not be tried again"
    )
    return Exit.OK


def hold(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Keep an expert at the release that serves, or let updates come again."""
    on = options.switch == "on"
    body = client.hold(options.name, on=on)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    state = word(body, "state")
    came = f"; its last release is {state}" if state != "-" else ""
    paper.line(f"{options.name}: {'held' if on else 'updates may come'}{came}")
    return Exit.OK


def history(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print how releases fared, the newest first."""
    body = client.history(options.name)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    rows = rows_of(body, "history")
    if not rows:
        paper.line("no release came by an update yet")
        return Exit.OK
    paper.table(
        ("WHEN", "EXPERT", "RELEASE", "STATE", "WHY"),
        [
            (_when(row), word(row, "expert"), word(row, "release"), word(row, "state"), _why(row))
            for row in rows
        ],
        right="RELEASE",
    )
    return Exit.OK


def _when(row: Mapping[str, object]) -> str:
    """Return the local time of a change."""
    at = row.get("at")
    if not isinstance(at, (int, float)):
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _why(row: Mapping[str, object]) -> str:
    """Return the reason, or what was found that is worth a word."""
    if row.get("reason"):
        return word(row, "reason")
    if row.get("state") == "verified":
        return cost_words(row.get("cost"))
    report, canary = row.get("report"), row.get("canary")
    if row.get("state") == "probed" and isinstance(report, Mapping):
        return f"{word(report, 'passed')} of {word(report, 'cases')} self-tests passed"
    if row.get("state") == "committed" and isinstance(canary, Mapping) and canary.get("good"):
        return f"{word(canary, 'good')} requests answered by the canary"
    held = row.get("hold_ms")
    if row.get("state") == "drained" and isinstance(held, (int, float)) and held:
        return f"a request waited up to {held:.0f} ms"
    return ""
