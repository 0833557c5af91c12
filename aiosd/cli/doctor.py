"""`aiosctl doctor`: looks at this machine and says what is wrong and what to do."""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from textwrap import wrap

from aiosd.cli.check import Check, Verdict
from aiosd.cli.daemon_checks import daemon_checks
from aiosd.cli.failure import Exit
from aiosd.cli.machine_checks import machine_checks
from aiosd.cli.places import places
from aiosd.cli.render import WIDTH, Paper, printable
from aiosd.client import Client
from aiosd.client.address import find_address
from aiosd.domain.errors import AiosdError, ConfigError
from aiosd.store.layout import Layout

NAME_WIDTH = 14
INDENT = " " * (4 + 2 + NAME_WIDTH + 2)


def doctor(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print every check as it is done; exit with 1 if one failed."""
    del client
    layout = _places(options.socket_dir)
    checks = chain(machine_checks(layout), daemon_checks(layout, find_address(options.socket_dir)))
    return report(checks, paper)


def _places(socket_dir: str | None) -> Layout:
    """Return where things lie; the defaults where that cannot be told: a check says why."""
    try:
        return places(socket_dir)
    except (AiosdError, ConfigError):
        return Layout()


def report(checks: Iterable[Check], paper: Paper) -> Exit:
    """Print the checks and the sum of them."""
    done = list(checks) if paper.as_json else list(_printed(checks, paper))
    counts = Counter(check.verdict for check in done)
    if paper.as_json:
        paper.document({"checks": [dataclasses.asdict(check) for check in done], **_sums(counts)})
    else:
        sums = ", ".join(f"{number} {name}" for name, number in _sums(counts).items())
        paper.line(f"\n{sums}")
    return Exit.EXPERT_FAILED if counts[Verdict.FAIL] else Exit.OK


def _sums(counts: Counter[Verdict]) -> dict[str, int]:
    """Return how many checks had which verdict."""
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _printed(checks: Iterable[Check], paper: Paper) -> Iterator[Check]:
    """Print each check before the next one is done: some take seconds."""
    for check in checks:
        mark = paper.paint(check.verdict.value.ljust(4), _HOW[check.verdict])
        first, *rest = _folded(check.found)
        paper.line(f"{mark}  {check.name.ljust(NAME_WIDTH)}  {first}")
        for line in rest:
            paper.line(f"{INDENT}{line}")
        for number, line in enumerate(_folded(check.step) if check.step else ()):
            paper.line(f"{INDENT}{'  ' if number else '→ '}{line}")
        yield check


def _folded(text: str) -> list[str]:
    """Return the text in lines that fit beside the names; long words stay whole to be copied."""
    width = WIDTH - len(INDENT) - len("→ ")
    return wrap(printable(text), width, break_long_words=False, break_on_hyphens=False) or [""]


_HOW = {Verdict.OK: "good", Verdict.WARN: "warn", Verdict.FAIL: "bad"}
