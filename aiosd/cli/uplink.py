"""`aiosctl uplink`: what goes up, what may, and the switch."""

import argparse
import time
from collections.abc import Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.look import Body, rows_of, word
from aiosd.cli.render import Paper, plain, size
from aiosd.client import Client

ACTIONS = ("status", "on", "off", "log")


def add_uplink(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `uplink`."""
    parser.add_argument("action", choices=ACTIONS, help="what to do or to see")
    parser.add_argument(
        "-n", "--lines", type=int, default=20, metavar="N", help="for log: the last N lines (20)"
    )


def uplink(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look at the uplink, or switch it."""
    body = client.uplink(options.action, options.lines)
    if paper.as_json:
        paper.document(body)
    elif options.action == "log":
        _show_log(body, paper)
    elif options.action == "status":
        _show_status(body, paper)
    else:
        paper.line(f"uplink: {'on' if body.get('on') else 'off'}")
        if body.get("lasting") is False:
            paper.line("until the daemon restarts: its state folder cannot be written")
    return Exit.OK


def _show_status(body: Body, paper: Paper) -> None:
    """Print who may go up, where to, and what is left for today."""
    facts: dict[str, object] = {"uplink": "on" if body.get("on") else "off"}
    for name in ("why", "allow", "users", "up", "waiting", "answered", "failed"):
        value = body.get(name)
        if value not in (None, ""):
            facts[name] = "nothing" if value == [] else plain(value)
    today = body.get("today")
    if isinstance(today, Mapping):
        facts["requests today"] = f"{word(today, 'requests')} of {word(today, 'requests_per_day')}"
        facts["bytes today"] = f"{size(today.get('bytes'))} of {size(today.get('bytes_per_day'))}"
        facts["money today"] = (
            f"{word(today, 'money')} of {word(today, 'money_per_day')} {word(today, 'currency')}"
        )
        if today.get("damaged"):
            facts["budget file"] = "was damaged, so today counts as used up"
    if body.get("folder"):
        facts["folder"] = body["folder"]
        facts["teaching material"] = body.get("teaching") or "not kept"
    paper.facts(facts)
    for row in rows_of(body, "endpoints"):
        paper.line()
        paper.line(f"{word(row, 'name')}: {word(row, 'state')}")
        paper.line(f"  {word(row, 'model')} at {word(row, 'address')}, key {word(row, 'key')}")
        if row.get("problem"):
            paper.line(f"  {word(row, 'problem')}")


def _show_log(body: Body, paper: Paper) -> None:
    """Print what left, oldest first; digests and connections only go into JSON."""
    entries = rows_of(body, "entries")
    if not entries:
        paper.line(str(body.get("why") or "nothing has left"))
        return
    paper.table(
        ("AT", "WHAT", "USER", "ENDPOINT", "UP", "DOWN", "HOW"),
        [
            (
                _clock(entry.get("at")),
                word(entry, "what"),
                word(entry, "uid"),
                word(entry, "endpoint"),
                word(entry, "bytes_up"),
                word(entry, "bytes_down"),
                word(entry, "outcome") if "outcome" in entry else word(entry, "kind"),
            )
            for entry in entries
        ],
        right="UP,DOWN",
    )


def _clock(at: object) -> str:
    """Return a time of the log for people."""
    if not isinstance(at, (int, float)):
        return "-"
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))
