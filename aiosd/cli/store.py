"""`aiosctl store`: the releases on this board's disk, looked at and cleared."""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from aiosd.cli.failure import Exit, UsageError
from aiosd.cli.places import add_experts_dir, places
from aiosd.cli.render import Paper, printable, size, span
from aiosd.client import Client
from aiosd.domain.sizes import parse_size

if TYPE_CHECKING:
    from aiosd.store.garbage import Inventory
    from aiosd.store.releases import Releases

ACTIONS = ("verify", "gc", "du")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `store`."""
    parser.add_argument(
        "action",
        choices=ACTIONS,
        help="verify: read everything and compare it with what was signed; gc: delete what nobody "
        "needs; du: show what takes how much",
    )
    add_experts_dir(parser, "the folder of installed experts; the store lies beside it")
    parser.add_argument(
        "--budget",
        metavar="SIZE",
        help="for gc: delete only as much as brings the store down to SIZE, the oldest first",
    )
    parser.add_argument("--dry-run", action="store_true", help="for gc: only show what would go")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="for verify: take damaged files out, so that installing or updating brings them anew",
    )


def store(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Look at the store, or clear it."""
    del client
    from aiosd.store.releases import Releases  # noqa: PLC0415 -- few verbs need it

    if options.action != "gc" and (options.budget or options.dry_run):
        raise UsageError("--budget and --dry-run go with: aiosctl store gc")
    if options.action != "verify" and options.repair:
        raise UsageError("--repair goes with: aiosctl store verify")
    releases = Releases(places(options.socket_dir, options.experts_dir))
    if options.action == "verify":
        return _verify(options, releases, paper)
    if options.action == "gc":
        return _collect(options, releases, paper)
    return _show_use(releases, paper)


def _verify(options: argparse.Namespace, releases: "Releases", paper: Paper) -> Exit:
    """Read everything, telling on a terminal which file it is at."""
    from aiosd.store.audit import audit, repair  # noqa: PLC0415

    live = sys.stderr.isatty() and not paper.as_json

    def tell(path: Path) -> None:
        if live:
            print(f"\r\x1b[K{printable(path.name)[:72]}", end="", file=sys.stderr, flush=True)

    start = time.monotonic()
    found = audit(releases, tell)
    seconds = time.monotonic() - start
    if live:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    taken = repair(releases, found) if options.repair else 0
    if paper.as_json:
        paper.document(
            {
                "releases": found.releases,
                "files": found.files,
                "bytes": found.bytes,
                "seconds": seconds,
                "taken_out": taken,
                "faults": [
                    {"path": os.fspath(fault.path), "reason": fault.reason}
                    for fault in found.faults
                ],
            }
        )
    else:
        for fault in found.faults:
            paper.line(
                f"{paper.paint('fault', 'bad')}  {printable(str(fault.path))}: {fault.reason}"
            )
        what = f"{found.releases} releases, {found.files} files, {size(found.bytes)}"
        verdict = f"{len(found.faults)} faults" if found.faults else "all as signed"
        paper.line(f"{what} read in {span(seconds)}: {verdict}")
        if taken:
            paper.line(f"{taken} damaged files taken out: install or update these experts again")
        elif found.damaged:
            paper.line("take them out with: aiosctl store verify --repair")
    return Exit.PACKAGE if found.faults else Exit.OK


def _collect(options: argparse.Namespace, releases: "Releases", paper: Paper) -> Exit:
    """Delete what nobody needs."""
    from aiosd.store.garbage import collect  # noqa: PLC0415

    try:
        budget = None if options.budget is None else parse_size(options.budget)
    except ValueError as error:
        raise UsageError(str(error)) from error
    found = collect(releases, now=time.time(), budget_bytes=budget, dry_run=options.dry_run)
    if paper.as_json:
        paper.document(
            {
                "dry_run": options.dry_run,
                "releases": [f"{name}/{release}" for name, release in found.releases],
                "blobs": list(found.blobs),
                "parts": list(found.parts),
                "freed_bytes": found.freed_bytes,
                "left_bytes": found.left_bytes,
                "over_bytes": found.over_bytes,
            }
        )
        return Exit.OK
    for name, release in found.releases:
        paper.line(f"{name} release {release}")
    verb = "would free" if options.dry_run else "freed"
    loose = len(found.blobs) + len(found.parts)
    paper.line(
        f"{verb} {size(found.freed_bytes)} ({len(found.releases)} releases, {loose} files); "
        f"{size(found.left_bytes)} stay"
    )
    if found.over_bytes:
        paper.line(
            f"{size(found.over_bytes)} over the budget: what stays serves, is there to go back to, "
            "or is being updated; remove an expert with: aiosctl remove EXPERT"
        )
    return Exit.OK


def _show_use(releases: "Releases", paper: Paper) -> Exit:
    """Show what takes how much; a blob of several releases is counted once below."""
    from aiosd.store.garbage import take_inventory  # noqa: PLC0415

    found = take_inventory(releases, now=time.time())
    rows = _rows(found)
    orphans = sum(each.size for each in found.orphans)
    parts = sum(each.size for each in found.parts)
    if paper.as_json:
        paper.document(
            {
                "releases": rows,
                "orphan_bytes": orphans,
                "part_bytes": parts,
                "total_bytes": found.total_bytes,
            }
        )
        return Exit.OK
    if rows:
        paper.table(
            ("EXPERT", "RELEASE", "SIZE", "ALONE", "STATE"),
            [
                (
                    str(row["expert"]),
                    str(row["release"]),
                    size(row["size_bytes"]),
                    size(row["alone_bytes"]),
                    str(row["state"]),
                )
                for row in rows
            ],
            right="RELEASE,SIZE,ALONE",
        )
    loose = f", of which {size(orphans + parts)} belong to no release" if orphans or parts else ""
    paper.line(f"{size(found.total_bytes)} in the store{loose}")
    return Exit.OK


def _rows(found: "Inventory") -> list[dict[str, object]]:
    """Return what each release takes, with what others share and alone."""
    uses = Counter(sha256 for held in found.releases for sha256 in held.blobs)
    rows: list[dict[str, object]] = []
    for held in found.releases:
        alone = sum(count for sha256, count in held.blobs.items() if uses[sha256] == 1)
        rows.append(
            {
                "expert": held.name,
                "release": held.release,
                "state": held.wanted or "spare",
                "size_bytes": held.own_bytes + sum(held.blobs.values()),
                "alone_bytes": held.own_bytes + alone,
            }
        )
    return rows
