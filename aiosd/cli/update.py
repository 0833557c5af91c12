"""`aiosctl update`: what is on offer, fetch it now, how far it has come and why, give it up."""

import argparse
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from msgspec import to_builtins

from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.look import rows_of, word
from aiosd.cli.places import places
from aiosd.cli.render import Paper, cost_words, span
from aiosd.client import Client
from aiosd.domain.errors import ConfigError
from aiosd.domain.rollout import Rollout, State
from aiosd.domain.update import CLOCK_SLACK_SECONDS
from aiosd.store.layout import Layout
from aiosd.store.update_settings import Own, read_own

Facts = dict[str, object]

ACTIONS = ("check", "run", "status", "cancel")
# Up to here a release is the updater's; from then on the daemon's, which must hear of it.
_OURS = (State.PLANNED, State.FETCHING, State.VERIFIED)
_NEXT: dict[str, str] = {
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
        "--config",
        type=Path,
        metavar="FILE",
        help=f"settings (default: the daemon's; without a daemon {Layout().settings})",
    )


def update(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look for new releases, fetch them, or say how far they are."""
    settings: Path = options.config or places(options.socket_dir).settings
    must_exist = options.config is not None or settings != Layout().settings
    if options.action in ("check", "run"):
        return _updater(options, settings if must_exist else None, as_json=paper.as_json)
    own = read_own(settings, must_exist=must_exist)
    if options.action == "status":
        return _status(own, options.experts, client, paper)
    return _cancel(own, options.experts, client, paper)


def _updater(options: argparse.Namespace, settings: Path | None, *, as_json: bool) -> Exit:
    """Run aiosd-update in this terminal, and return what it ends with."""
    command = [sys.executable, "-m", "aiosd.update", *options.experts]
    command += ["--check"] if options.action == "check" else []
    command += ["--now"] if options.now else []
    command += ["--json"] if as_json else []
    command += ["--config", str(settings)] if settings is not None else []
    sys.stdout.flush()
    with subprocess.Popen(command) as child:  # noqa: S603 - our own interpreter and code
        while True:
            try:
                return Exit(child.wait())
            except KeyboardInterrupt:
                continue  # the terminal has told the child too, which ends in order


def _status(own: Own, names: list[str], client: Client, paper: Paper) -> Exit:
    """Print where every release is, and why."""
    try:
        facts, holds, floor = _of_ledger(own)
    except PermissionError:
        # The ledger is the daemon's; operators may ask it.
        facts, holds, floor = _of_daemon(client)
    facts = [each for each in facts if not names or each["expert"] in names]
    holds = [name for name in holds if not names or name in names]
    trusted = time.time() >= floor - CLOCK_SLACK_SECONDS
    if paper.as_json:
        where = {"url": own.update.url, "channel": own.update.channel}
        paper.document({**where, "clock_trusted": trusted, "holds": holds, "experts": facts})
        return Exit.OK
    source = f"{own.update.url}, channel {own.update.channel}" if own.update.on else "off"
    paper.facts({"updates": source, **({"held": holds} if holds else {})})
    if not trusted:
        paper.line("clock_untrusted: this board's clock is before a time that has been; set it")
    if not facts:
        paper.line("no release has come over the air yet")
        return Exit.OK
    paper.line()
    paper.table(
        ("EXPERT", "REL", "STATE", "FOR", "TRIES", "WHAT"),
        [
            (
                word(each, "expert"),
                word(each, "release"),
                word(each, "state"),
                span(_age(each)),
                word(each, "attempts"),
                _NEXT.get(word(each, "state"), ""),
            )
            for each in facts
        ],
        right="REL,TRIES",
    )
    for each in facts:
        for words in filter(None, (each["reason"], cost_words(each.get("cost")))):
            paper.line(f"{each['expert']} {each['release']}: {words}")
    return Exit.OK


def _of_ledger(own: Own) -> tuple[list[Facts], list[str], float]:
    """Return the rows, who is held, and the latest time that has been.

    Raises:
        PermissionError: nobody but its owner may look.
        ConfigError: the ledger is damaged.
    """
    from aiosd.store.ledger import Ledger, LedgerError  # noqa: PLC0415 - sqlite3, for this verb

    path = own.layout.ledger
    if not path.exists():
        return [], [], 0.0
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(path)
    try:
        with closing(Ledger(path)) as ledger:
            rows = [_facts(row) for row in ledger.rows()]
            return rows, ledger.holds(), ledger.time_floor()
    except LedgerError as error:
        raise ConfigError(error.reason, path=str(error.path)) from error


def _of_daemon(client: Client) -> tuple[list[Facts], list[str], float]:
    """Return the same from the daemon, which keeps its time to itself."""
    body = client.rollouts()
    holds = body.get("holds")
    facts = [
        {**row, "seconds_left": _left(row.get("deadline")), "reason": row.get("reason") or ""}
        for row in rows_of(body, "rollouts")
    ]
    return facts, [str(name) for name in holds] if isinstance(holds, list) else [], 0.0


def _facts(row: Rollout) -> Facts:
    """Return what programs may want to know of a release."""
    return {
        "expert": row.name,
        "release": row.release,
        "state": str(row.state),
        "reason": row.reason,
        "since": row.since,
        "seconds_left": _left(row.deadline),
        "attempts": row.attempts,
        "old_release": row.old_release,
        "cost": to_builtins(row.cost),
        "manifest_sha256": row.sha256,
    }


def _left(deadline: object) -> float | None:
    """Return how long a state may still last."""
    if not isinstance(deadline, int | float) or not deadline:
        return None
    return max(0.0, deadline - time.time())


def _age(facts: Facts) -> float | None:
    since = facts.get("since")
    return max(0.0, time.time() - since) if isinstance(since, int | float) else None


def _cancel(own: Own, names: list[str], client: Client, paper: Paper) -> Exit:
    """Give a release up that is not committed yet."""
    from aiosd.policy.rollout.events import Cancelled  # noqa: PLC0415
    from aiosd.policy.rollout.table import advance  # noqa: PLC0415 - for this verb alone
    from aiosd.store.ledger import Ledger, LedgerError  # noqa: PLC0415

    if len(names) != 1:
        raise UsageError("say which expert: aiosctl update cancel EXPERT")
    (name,) = names
    try:
        if not own.layout.ledger.exists():
            raise UsageError(f"nothing is on its way for {name}")
        with closing(Ledger(own.layout.ledger)) as ledger:
            row = ledger.row(name)
            if row is None or row.ended:
                raise UsageError(f"nothing is on its way for {name}")
            if row.state in _OURS:
                row, _ = advance(row, Cancelled("cancelled by aiosctl"), time.time())
                ledger.put(row)
            else:
                client.cancel_release(name)  # the daemon has it in its hands
    except (LedgerError, PermissionError):
        # The ledger is the daemon's, which gives up what operators ask it to.
        facts = client.cancel_release(name)
    else:
        facts = _facts(row)
    if paper.as_json:
        paper.document(facts)
    else:
        paper.line(f"what was on its way for {name} is given up; the next run may offer it again")
    return Exit.OK
