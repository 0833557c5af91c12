"""`aiosctl install` and `remove`: packages on this board's disk."""

import argparse
import os
from pathlib import Path

from aiosd.cli import collisions
from aiosd.cli.failure import Exit
from aiosd.cli.operate import told_reload
from aiosd.cli.places import add_experts_dir, places
from aiosd.cli.render import Paper, size
from aiosd.client import Client
from aiosd.domain.errors import ForbiddenError, PackageError, UnreachableError
from aiosd.policy.routing.collision import Shift
from aiosd.store.layout import MANIFEST, Layout
from aiosd.store.packages import Installed, read_manifest


def add_install(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `install`."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="a package, or its expert.toml; or a packed release, or its manifest.json",
    )
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
    parser.add_argument(
        "--allow-collisions",
        action="store_true",
        help="install it even if texts of other experts would come to it",
    )
    _add_target(parser)


def add_remove(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `remove`."""
    parser.add_argument("name", metavar="EXPERT", help="its name")
    _add_target(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    add_experts_dir(parser, "the folder of installed experts")
    parser.add_argument(
        "--no-reload",
        action="store_true",
        help="do not tell the daemon; it sees it at its next reload",
    )


def install(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Install a package, and let the daemon see it."""
    from aiosd.store.install import install as install_package  # noqa: PLC0415 -- as in main
    from aiosd.store.packed import is_packed  # noqa: PLC0415

    layout = places(options.socket_dir, options.experts_dir)
    if is_packed(options.folder):
        return _install_packed(options, layout, client, paper)
    source = _source(options.folder)
    shifts, unmeasured = collisions.foreseen(layout, source)
    if not paper.as_json:
        collisions.show(shifts, paper, source.manifest.name)
    if not options.allow_collisions:
        collisions.refuse(shifts, source.manifest.name)
    installed = install_package(
        options.folder, layout.experts[0], models=options.models, allow_older=options.allow_older
    )
    return _report(options, client, paper, installed, shifts, unmeasured)


def _install_packed(
    options: argparse.Namespace, layout: Layout, client: Client, paper: Paper
) -> Exit:
    """Install a packed release through the store, where nothing is copied a second time."""
    from aiosd.models.check import check_package  # noqa: PLC0415 -- as in main
    from aiosd.store.packed import bring  # noqa: PLC0415
    from aiosd.store.releases import Releases  # noqa: PLC0415

    releases = Releases(layout)
    with releases.alone():
        staged = bring(options.folder, releases, allow_older=options.allow_older)
        name, release = staged.manifest.name, staged.manifest.release
        try:
            check_package(staged.manifest, staged.folder)
            shifts, unmeasured = collisions.foreseen(
                layout, Installed(staged.manifest, staged.folder)
            )
            if not paper.as_json:
                collisions.show(shifts, paper, name)
            if not options.allow_collisions:
                collisions.refuse(shifts, name)
        except PackageError:
            if releases.active(name) != release:
                releases.forget(name, release)
            raise
        releases.activate(name, release)
    return _report(options, client, paper, staged, shifts, unmeasured)


def _report(
    options: argparse.Namespace,
    client: Client,
    paper: Paper,
    installed: Installed,
    shifts: list[Shift],
    unmeasured: str,
) -> Exit:
    """Say what was installed, and reload."""
    manifest = installed.manifest
    total = sum(file.size for file in manifest.files)
    facts = {
        "expert": manifest.name,
        "release": manifest.release,
        "folder": os.fspath(installed.folder),
        "size_bytes": total,
        **collisions.as_facts(shifts),
    }
    if unmeasured and not paper.as_json:
        paper.line(f"what it changes for the texts of others was not measured: {unmeasured}")
    name = f"{manifest.name} release {manifest.release}"
    text = f"installed {name}, {size(total)}, in {installed.folder}"
    return _finish(options, client, paper, facts, text)


def remove(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Remove an installed expert, and let the daemon see it."""
    from aiosd.store.garbage import expel  # noqa: PLC0415
    from aiosd.store.install import remove as remove_package  # noqa: PLC0415 -- as in main
    from aiosd.store.releases import Releases  # noqa: PLC0415

    layout = places(options.socket_dir, options.experts_dir)
    shifts, _ = collisions.foreseen(layout, None, options.name)
    remove_package(options.name, layout.experts[0])
    if not paper.as_json:
        collisions.show(shifts, paper, options.name)
    facts: dict[str, object] = {"expert": options.name, **collisions.as_facts(shifts)}
    text = f"removed {options.name}"
    releases = Releases(layout)
    if releases.installed(options.name):
        try:
            facts["freed_bytes"] = expel(releases, options.name)
        except (PackageError, OSError) as error:
            text += f"; its files stay until: aiosctl store gc ({error})"
    return _finish(options, client, paper, facts, text)


def _source(folder: Path) -> Installed:
    """Return the package that is to be installed, as it lies there.

    Raises:
        PackageError: its manifest is none.
    """
    place = folder.parent if folder.name == MANIFEST and not folder.is_dir() else folder
    return Installed(read_manifest(place), place)


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
