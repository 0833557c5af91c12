"""`aiosctl power`: the board's power mode and clock limits, through the daemon's helper."""

import argparse
import re

from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.look import Body, rows_of, word
from aiosd.cli.render import Paper
from aiosd.client import Client

_FREQUENCY = re.compile(r"^(\d{1,9}(?:\.\d{1,9})?)\s*(GHz|MHz|kHz)?$", re.IGNORECASE)
_KHZ = {"ghz": 1e6, "mhz": 1e3, "khz": 1.0, "": 1.0}


def add_power(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "what", nargs="?", choices=("mode", "frequency"), help="what to look at or to set"
    )
    parser.add_argument(
        "value",
        nargs="?",
        metavar="VALUE",
        help='a mode\'s name or "list"; a frequency such as 1.5GHz, or "auto" to let go of it',
    )
    parser.add_argument(
        "--policy", metavar="NAME", help="limit this cpufreq policy alone, such as policy4"
    )


def power(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look at the levers, or turn one."""
    if options.what == "mode" and options.value not in (None, "list"):
        body = client.power(mode=options.value)
    elif options.what == "frequency" and options.value not in (None, "list"):
        body = client.power(policy=options.policy, khz=parse_khz(options.value))
    else:
        body = client.power()
    if paper.as_json:
        paper.document(body)
    else:
        _show(paper, body, options.what)
    return Exit.OK


def parse_khz(text: str) -> int:
    """Return a frequency such as 1.5GHz, 900MHz or 1500000 in kHz; 0 for "auto".

    Raises:
        UsageError: this is none.
    """
    if text == "auto":
        return 0
    found = _FREQUENCY.match(text.strip())
    if not found:
        raise UsageError(f"{text!r} is no frequency; write it like 1.5GHz or 1500000, or auto")
    return max(1, round(float(found[1]) * _KHZ[(found[2] or "").lower()]))


def _show(paper: Paper, body: Body, what: str | None) -> None:
    """Print how everything stands."""
    if what != "frequency":
        modes = body.get("modes")
        names = [str(name) for name in modes] if isinstance(modes, list) else []
        for name in names:
            paper.line(f"{'*' if name == body.get('mode') else ' '} {name}")
        if not names:
            paper.line("this board has no power modes")
    if what is None:
        paper.line()
    if what != "mode":
        paper.table(
            ("POLICY", "LIMIT", "LEAST", "MOST", "FOUND AT"),
            [
                (
                    word(row, "name"),
                    *(_ghz(row.get(f"{key}_khz")) for key in ("limit", "min", "max", "found")),
                )
                for row in rows_of(body, "policies")
            ],
            right="LIMIT,LEAST,MOST,FOUND AT",
        )


def _ghz(khz: object) -> str:
    """Return a clock in GHz, or a dash."""
    return f"{khz / 1e6:.2f} GHz" if isinstance(khz, int) and khz > 0 else "-"
