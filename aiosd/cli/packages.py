"""`aiosctl install` and `remove`: packages on this board's disk."""

import argparse
import os
from pathlib import Path

from aiosd.cli.failure import Exit
from aiosd.cli.operate import told_reload
from aiosd.cli.render import Paper, size
from aiosd.client import Client
from aiosd.domain.errors import ForbiddenError, UnreachableError
from aiosd.store.layout import Layout


def add_install(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `install`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a package, or its expert.toml")
    parser.add_argument(
        "--model",
        dest="models",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the model, or a folder with files, if they are not in DIR (repeatable)",
    )
    parser.add_argument(
        "--allow-older", action="store_true", help="replace a newer release by an older one"
    )
    _add_target(parser)


def add_remove(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `remove`."""
    parser.add_argument("name", metavar="EXPERT", help="its name")
    _add_target(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--experts-dir",
        type=Path,
        default=Layout().experts[0],
        metavar="DIR",
        help="the folder of installed experts (default: %(default)s)",
    )
    parser.add_argument(
        "--no-reload",
        action="store_true",
        help="do not tell the daemon; it sees it at its next reload",
    )


def install(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Install a package, and let the daemon see it."""
    from aiosd.store.install import install as install_package  # noqa: PLC0415 -- as in main

    installed = install_package(
        options.folder, options.experts_dir, models=options.models, allow_older=options.allow_older
    )
    manifest = installed.manifest
    total = sum(file.size for file in manifest.files)
    facts = {
        "expert": manifest.name,
        "release": manifest.release,
        "folder": os.fspath(installed.folder),
        "size_bytes": total,
    }
    name = f"{manifest.name} release {manifest.release}"
    text = f"installed {name}, {size(total)}, in {installed.folder}"
    return _finish(options, client, paper, facts, text)


def remove(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Remove an installed expert, and let the daemon see it."""
    from aiosd.store.install import remove as remove_package  # noqa: PLC0415 -- as in main

    remove_package(options.name, options.experts_dir)
    return _finish(options, client, paper, {"expert": options.name}, f"removed {options.name}")


def _finish(
    options: argparse.Namespace,
    client: Client,
    paper: Paper,
    facts: dict[str, object],
    text: str,
) -> Exit:
    """Report what was done on disk, and reload; a daemon that is away is no failure."""
    reload: dict[str, object] | None = None
    hint = ""
    if not options.no_reload:
        try:
            reload = client.reload()
        except (UnreachableError, ForbiddenError) as error:
            hint = f"the daemon was not told ({error.code}); it sees it when it starts or reloads"
    if paper.as_json:
        paper.document({**facts, "reload": reload})
        return Exit.OK
    paper.line(text)
    if reload is not None:
        return told_reload(reload, paper)
    if hint:
        paper.line(hint)
    return Exit.OK
