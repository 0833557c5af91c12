"""`aiosctl update`: what is on offer, fetch it now, how far it has come and why, give it up."""

import argparse
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.render import Paper, span
from aiosd.client import Client
from aiosd.domain.errors import ConfigError
from aiosd.domain.rollout import Rollout, State
from aiosd.store.layout import Layout
from aiosd.store.update_settings import Own, read_own

ACTIONS = ("check", "run", "status", "cancel")
# Up to here a release is the updater's; from then on the daemon's, which must hear of it.
_OURS = (State.PLANNED, State.FETCHING, State.VERIFIED)
_NEXT = {
    State.PLANNED: "waits to be fetched",
    State.FETCHING: "is being fetched, or was when the updater stopped",
    State.VERIFIED: "is all here, not yet staged",
    State.STAGED: "waits for the daemon's probe",
    State.PROBED: "passed its self-tests here",
    State.CANARY: "answers its first requests",
    State.COMMITTED: "serves",
    State.DRAINED: "serves; the old one is gone",
    State.COLLECTED: "serves",
    State.HELD: "is held",
    State.CANCELLED: "was given up",
    State.QUARANTINED: "is never tried again",
}


def add_update(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `update`."""
    parser.add_argument("action", choices=ACTIONS, help="what to do or to see")
    parser.add_argument(
        "experts", nargs="*", metavar="EXPERT", help="these only; for cancel the one to give up"
    )
    parser.add_argument(
        "--now",
        action="store_true",
        help="for run: whatever the hour, and over a metered connection too",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings (default: {Layout().settings})"
    )


def update(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look for new releases, fetch them, or say how far they are."""
    if options.action in ("check", "run"):
        return _updater(options, as_json=paper.as_json)
    own = read_own(options.config or Layout().settings, must_exist=options.config is not None)
    if options.action == "status":
        return _status(own, options.experts, paper)
    return _cancel(own, options.experts, client, paper)


def _updater(options: argparse.Namespace, *, as_json: bool) -> Exit:
    """Run aiosd-update in this terminal, and return what it ends with."""
    command = [sys.executable, "-m", "aiosd.update", *options.experts]
    command += ["--check"] if options.action == "check" else []
    command += ["--now"] if options.now else []
    command += ["--json"] if as_json else []
    command += ["--config", str(options.config)] if options.config is not None else []
    sys.stdout.flush()
    with subprocess.Popen(command) as child:  # noqa: S603 - our own interpreter and code
        while True:
            try:
                return Exit(child.wait())
            except KeyboardInterrupt:
                continue  # the terminal has told the child too, which ends in order


def _status(own: Own, names: list[str], paper: Paper) -> Exit:
    """Print where every release is, and why."""
    from aiosd.store.ledger import Ledger  # noqa: PLC0415 - sqlite3, which no other verb needs

    rows: list[Rollout] = []
    holds: list[str] = []
    floor = 0.0
    if _exists(own.layout.ledger):
        with closing(Ledger(own.layout.ledger)) as ledger:
            rows = [row for row in ledger.rows() if not names or row.name in names]
            holds = [name for name in ledger.holds() if not names or name in names]
            floor = ledger.time_floor()
    now = time.time()
    if paper.as_json:
        paper.document(
            {
                "url": own.update.url,
                "channel": own.update.channel,
                "clock_trusted": now >= floor,
                "holds": holds,
                "experts": [_facts(row, now) for row in rows],
            }
        )
        return Exit.OK
    source = f"{own.update.url}, channel {own.update.channel}" if own.update.on else "off"
    paper.facts({"updates": source, **({"held": holds} if holds else {})})
    if now < floor:
        paper.line("clock_untrusted: this board's clock is before a time that has been; set it")
    if not rows:
        paper.line("no release has come over the air yet")
        return Exit.OK
    paper.line()
    paper.table(
        ("EXPERT", "REL", "STATE", "FOR", "TRIES", "WHAT"),
        [
            (
                row.name,
                str(row.release),
                str(row.state),
                span(max(0.0, now - row.since)),
                str(row.attempts),
                _NEXT[row.state],
            )
            for row in rows
        ],
        right="REL,TRIES",
    )
    for row in rows:
        if row.reason:
            paper.line(f"{row.name} {row.release}: {row.reason}")
    return Exit.OK


def _facts(row: Rollout, now: float) -> dict[str, object]:
    """Return what programs may want to know of a release."""
    return {
        "expert": row.name,
        "release": row.release,
        "state": str(row.state),
        "reason": row.reason,
        "since": row.since,
        "seconds_left": max(0.0, row.deadline - now) if row.deadline else None,
        "attempts": row.attempts,
        "old_release": row.old_release,
        "manifest_sha256": row.sha256,
    }


def _cancel(own: Own, names: list[str], client: Client, paper: Paper) -> Exit:
    """Give a release up that is not committed yet."""
    from aiosd.policy.rollout import advance  # noqa: PLC0415 - as above
    from aiosd.policy.rollout_events import Cancelled  # noqa: PLC0415
    from aiosd.store.ledger import Ledger  # noqa: PLC0415

    if len(names) != 1:
        raise UsageError("say which expert: aiosctl update cancel EXPERT")
    name = names[0]
    if not _exists(own.layout.ledger):
        raise UsageError(f"nothing is on its way for {name}")
    with closing(Ledger(own.layout.ledger)) as ledger:
        row = ledger.row(name)
        if row is None or row.ended:
            raise UsageError(f"nothing is on its way for {name}")
        if row.state not in _OURS:
            # The daemon has it in its hands.
            facts = client.cancel_release(name)
            if paper.as_json:
                paper.document(facts)
            else:
                paper.line(f"release {row.release} of {name} is given up")
            return Exit.OK
        row, _ = advance(row, Cancelled("cancelled by aiosctl"), time.time())
        ledger.put(row)
    if paper.as_json:
        paper.document(_facts(row, time.time()))
    else:
        paper.line(f"release {row.release} of {name} is given up; the next run may offer it again")
    return Exit.OK


def _exists(ledger: Path) -> bool:
    """Tell whether there is a ledger.

    Raises:
        ConfigError: nobody may look but its owner.
    """
    try:
        return ledger.exists()
    except PermissionError as error:
        raise ConfigError(
            "only the user aiosd and root may look: sudo -u aiosd aiosctl update ...",
            path=str(ledger),
        ) from error
