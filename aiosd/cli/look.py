"""The verbs that only look: list, show, ps, status, events."""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.render import Paper, plain, size, span
from aiosd.client import Client
from aiosd.domain.model_parts import PART

Body = Mapping[str, object]
# A map of more entries gets a line for each.
_SHORT_MAP = 4


def rows_of(body: Body, key: str) -> list[Body]:
    """Return a list of maps out of a reply, without what is none."""
    value = body.get(key)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def word(row: Body, key: str) -> str:
    """Return one value of a reply's row as a word, or a dash."""
    value = row.get(key)
    return "-" if value in (None, "") else plain(value)


def list_experts(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print the installed experts, and the packages that were refused with the reason."""
    del options
    body = client.list()
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    experts = rows_of(body, "experts")
    if not experts:
        paper.line("no experts are installed; see: aiosctl install --help")
    else:
        paper.table(
            ("NAME", "REL", "TASK", "INPUT", "STATE", "NEEDS", "SUMMARY"),
            [
                (
                    word(row, "name"),
                    word(row, "release"),
                    word(row, "task"),
                    word(row, "input"),
                    word(row, "state") + (" pinned" if row.get("pinned") else ""),
                    size(row.get("need_bytes")),
                    word(row, "summary"),
                )
                for row in experts
            ],
            right="REL,NEEDS",
        )
    for row in rows_of(body, "refused"):
        print(f"refused: {word(row, 'path')}: {word(row, 'reason')}", file=sys.stderr)
    return Exit.OK


def show(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print everything known of one expert."""
    body = client.show(options.name)
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    facts: dict[str, object] = {}
    for name, value in body.items():
        if name != "manifest":
            facts[name] = size(value) if name.endswith("_bytes") and value is not None else value
    manifest = body.get("manifest")
    if isinstance(manifest, Mapping):
        facts |= dict(_flat(_without_parts(manifest)))
    paper.facts(facts)
    return Exit.OK


def _without_parts(manifest: Body) -> Body:
    """Return a manifest for people: of a model in parts the first file, and how many there are."""
    files = rows_of(manifest, "files")
    shown = [row for row in files if row.get("role") != PART]
    if len(shown) == len(files):
        return manifest
    return {**manifest, "files": shown, "model_parts": len(files) - len(shown) + 1}


def _flat(table: Body, before: str = "") -> Iterable[tuple[str, object]]:
    """Yield the table's values with dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def ps(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print the loaded experts and the engine hosts."""
    body = client.ps()
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    experts = rows_of(body, "experts")
    if experts:
        paper.table(
            ("NAME", "STATE", "ENGINE", "RAM", "IDLE", "DONE", "QUEUE"),
            [
                (
                    word(row, "name"),
                    word(row, "state") + (" pinned" if row.get("pinned") else ""),
                    word(row, "engine"),
                    size(row.get("ram_bytes")),
                    span(row.get("idle_seconds")),
                    word(row, "requests"),
                    word(row, "queue"),
                )
                for row in experts
            ],
            right="RAM,IDLE,DONE,QUEUE",
        )
    else:
        paper.line("no expert is loaded")
    if options.verbose:
        for row in experts:
            paper.line(
                f"{word(row, 'name')}: pid {word(row, 'pid')}, "
                f"{size(row.get('held_bytes'))} in the books, "
                f"limit of the kernel {size(row.get('limit_bytes'))}, nice {word(row, 'nice')}, "
                f"threads {word(row, 'threads')}"
            )
            paper.line(
                f"  {size(row.get('private_bytes'))} anonymous, "
                f"{size(row.get('reclaimable_bytes'))} mapped from files (reclaimable)"
            )
            paper.line(f"  {word(row, 'confinement')}")
    hosts = rows_of(body, "hosts")
    if hosts:
        paper.line()
        paper.table(
            ("HOST", "PID", "RAM", "WORKERS", "VERSION"),
            [
                (
                    word(row, "engine"),
                    word(row, "pid"),
                    size(row.get("pss_bytes")),
                    word(row, "workers"),
                    word(row, "version"),
                )
                for row in hosts
            ],
            right="PID,RAM,WORKERS",
        )
    return Exit.OK


def status(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Print the daemon's own condition."""
    del options
    body = client.status()
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    facts: dict[str, object] = {}
    for name, value in body.items():
        if name.endswith("_bytes"):
            facts[name.removesuffix("_bytes").replace("_", " ")] = size(value)
        elif name.endswith("_seconds"):
            facts[name.removesuffix("_seconds").replace("_", " ")] = span(value)
        elif isinstance(value, Mapping) and len(value) > _SHORT_MAP:
            facts |= {f"{name} {key}".replace("_", " "): item for key, item in value.items()}
        elif isinstance(value, Mapping):
            pairs = [f"{key} {plain(item)}" for key, item in value.items()]
            facts[name.replace("_", " ")] = ", ".join(pairs)
        else:
            facts[name.replace("_", " ")] = value
    paper.facts(facts)
    return Exit.OK


def events(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Follow what happens until Ctrl-C."""
    for event in client.events(options.topics, timeout_seconds=options.timeout_seconds):
        if paper.as_json:
            paper.document({"topic": event.topic, "at": event.at, **event.facts})
            continue
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        facts = " ".join(f"{name}={plain(value)}" for name, value in event.facts.items())
        paper.piece(f"{clock}  {event.topic:<20}  {facts}\n")
    return Exit.OK
