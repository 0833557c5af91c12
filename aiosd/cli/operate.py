"""The operator's verbs, on the admin socket: load, unload, pin, unpin, reload."""

import argparse
from collections.abc import Mapping

from aiosd.cli.failure import Exit
from aiosd.cli.look import rows_of, word
from aiosd.cli.render import Paper, plain
from aiosd.client import Client


def load(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Load an expert now."""
    return _told(client.load(options.name, ram_bytes=options.ram), paper)


def unload(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Unload an expert once it is idle."""
    return _told(client.unload(options.name), paper)


def pin(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Keep an expert loaded."""
    return _told(client.pin(options.name), paper)


def unpin(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Let an expert be evicted again."""
    return _told(client.pin(options.name, pinned=False), paper)


def reload(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Let the daemon read settings and packages again."""
    del options
    return told_reload(client.reload(), paper)


def told_reload(body: Mapping[str, object], paper: Paper) -> Exit:
    """Print what a reload changed."""
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    for name in ("added", "removed", "changed"):
        paper.line(f"{name}: {plain(body.get(name) or 'nothing')}")
    for row in rows_of(body, "refused"):
        paper.line(f"refused: {word(row, 'path')}: {word(row, 'reason')}")
    return Exit.OK


def _told(body: Mapping[str, object], paper: Paper) -> Exit:
    """Print the expert's state."""
    if paper.as_json:
        paper.document(body)
        return Exit.OK
    paper.line(f"{word(body, 'expert')}: {word(body, 'state')}")
    return Exit.OK
