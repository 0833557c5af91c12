"""What on the disk nobody needs any more, and its deletion within a budget of flash.

The active release of each expert and the one before it always stay, and so does what an update has
in hand. Links make this simple: a release holds its blobs, whatever becomes of their other names.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.store.durable import sync_folder
from aiosd.store.failpoint import reach
from aiosd.store.packages import read_manifest
from aiosd.store.releases import Releases

# What an update that was interrupted has fetched is worth keeping for so long.
FRESH_SECONDS = 7 * 86_400.0

Key = tuple[str, int]


@dataclass(frozen=True)
class Held:
    """A release on the disk: its blobs with their sizes, what it alone holds, and since when.

    `own_bytes` are files that are no blobs, as in a package that was installed by hand.
    `wanted` says why it must stay: "active", "previous", "update", or nothing.
    """

    name: str
    release: int
    blobs: Mapping[str, int]
    own_bytes: int
    since: float
    wanted: str = ""

    @property
    def key(self) -> Key:
        """What names it."""
        return self.name, self.release


@dataclass(frozen=True)
class Loose:
    """A file that no release refers to: a blob by its digest, or a part by its path."""

    name: str
    size: int
    since: float


@dataclass(frozen=True)
class Inventory:
    """Everything in the store at one moment."""

    releases: tuple[Held, ...]
    blobs: Mapping[str, int]
    orphans: tuple[Loose, ...]
    parts: tuple[Loose, ...]

    @property
    def total_bytes(self) -> int:
        """What all of it takes, each blob counted once."""
        own = sum(held.own_bytes for held in self.releases)
        return sum(self.blobs.values()) + own + sum(part.size for part in self.parts)


@dataclass(frozen=True)
class Collection:
    """What goes: releases, blobs by digest, parts by path; and what is freed and left."""

    releases: tuple[Key, ...]
    blobs: tuple[str, ...]
    parts: tuple[str, ...]
    freed_bytes: int
    left_bytes: int
    over_bytes: int


def plan_collection(
    inventory: Inventory, *, now: float, budget_bytes: int | None = None
) -> Collection:
    """Return what goes: with a budget only as much as it takes, the oldest first; else all spare.

    Loose files that are not fresh any more always go, fresh ones only for the budget's sake.
    `over_bytes` is by how much the budget is missed even so.
    """
    left = inventory.total_bytes
    loose = [*inventory.orphans, *inventory.parts]
    gone = [each for each in loose if now - each.since >= FRESH_SECONDS]
    left -= sum(each.size for each in gone)
    spare = sorted(
        (held for held in inventory.releases if not held.wanted),
        key=lambda held: (held.since, held.key),
    )
    staying = list(inventory.releases)
    leaving: list[Held] = []
    for held in spare:
        if budget_bytes is not None and left <= budget_bytes:
            break
        staying.remove(held)
        leaving.append(held)
        left -= held.own_bytes + sum(_alone(held, staying).values())
    for each in sorted(loose, key=lambda each: each.since):
        if budget_bytes is not None and left > budget_bytes and each not in gone:
            gone.append(each)
            left -= each.size
    used = {sha256 for held in staying for sha256 in held.blobs}
    freed = [sha256 for held in leaving for sha256 in held.blobs if sha256 not in used]
    parts = {part.name for part in inventory.parts}
    return Collection(
        releases=tuple(held.key for held in leaving),
        blobs=tuple(dict.fromkeys([*freed, *(e.name for e in gone if e.name not in parts)])),
        parts=tuple(each.name for each in gone if each.name in parts),
        freed_bytes=inventory.total_bytes - left,
        left_bytes=left,
        over_bytes=max(0, left - budget_bytes) if budget_bytes is not None else 0,
    )


def take_inventory(releases: Releases, *, now: float, keep: Iterable[Key] = ()) -> Inventory:
    """Look at everything in the store; `keep` are releases that an update has in hand.

    A release that was staged lately and is not older than the active one counts as in hand.
    """
    kept = frozenset(keep)
    held = tuple(
        _held(releases, name, number, kept, now)
        for name in releases.names()
        for number in releases.installed(name)
    )
    used = {sha256 for each in held for sha256 in each.blobs}
    found = list(releases.blobs.held())
    return Inventory(
        releases=held,
        blobs={sha256: status.st_size for sha256, status in found},
        orphans=tuple(
            Loose(sha256, status.st_size, status.st_mtime)
            for sha256, status in found
            if sha256 not in used
        ),
        parts=tuple(
            Loose(str(path), status.st_size, status.st_mtime)
            for path, status in releases.blobs.parts()
        ),
    )


def collect(
    releases: Releases,
    *,
    now: float,
    budget_bytes: int | None = None,
    keep: Iterable[Key] = (),
    dry_run: bool = False,
) -> Collection:
    """Delete what `plan_collection` names; only say it with `dry_run`. `now` is the wall clock.

    Raises:
        PackageError: somebody fetches, stages or collects.
        OSError: the disk says no; what was deleted so far is gone, and nothing else.
    """
    if dry_run:
        return plan_collection(
            take_inventory(releases, now=now, keep=keep), now=now, budget_bytes=budget_bytes
        )
    with releases.alone():
        releases.recover()
        inventory = take_inventory(releases, now=now, keep=keep)
        found = plan_collection(inventory, now=now, budget_bytes=budget_bytes)
        for name, number in found.releases:
            reach("collect.release")
            releases.forget(name, number)
        for sha256 in found.blobs:
            releases.blobs.delete(sha256)
        for part in found.parts:
            reach("collect.part")
            Path(part).unlink(missing_ok=True)
        _sweep_folders(releases)
        reach("collect.done")
    return found


def expel(releases: Releases, name: str) -> int:
    """Delete all releases of an expert that was removed, and blobs that they alone had.

    Returns the bytes that were freed.

    Raises:
        PackageError: the expert is not removed, or somebody fetches, stages or collects.
        OSError: the disk says no.
    """
    with releases.alone():
        if (releases.experts / name).is_symlink():
            raise PackageError(f"{releases.experts / name}: it is active; remove the expert first")
        held = take_inventory(releases, now=0.0).releases
        others = [each for each in held if each.name != name]
        freed: dict[str, int] = {}
        own = 0
        for each in held:
            if each.name == name:
                releases.forget(name, each.release)
                freed |= _alone(each, others)
                own += each.own_bytes
        for sha256 in freed:
            releases.blobs.delete(sha256)
        _sweep_folders(releases)
    return own + sum(freed.values())


def _alone(held: Held, others: Iterable[Held]) -> dict[str, int]:
    """Return the blobs of a release that no other one holds."""
    used = {sha256 for other in others for sha256 in other.blobs}
    return {sha256: size for sha256, size in held.blobs.items() if sha256 not in used}


def _held(releases: Releases, name: str, number: int, kept: frozenset[Key], now: float) -> Held:
    """Look at one release; a damaged one holds nothing, and is as wanted as any other."""
    folder = releases.folder(name, number)
    blobs: dict[str, int] = {}
    own = 0
    with contextlib.suppress(PackageError):
        published = releases.release(name, number)
        if published is not None:
            blobs = published.blobs
        else:
            own = sum(file.size for file in read_manifest(folder).files)
    since = now
    with contextlib.suppress(OSError):
        since = folder.stat().st_ctime
    wanted = _wanted(releases, name, number)
    if not wanted:
        active = releases.active(name)
        newer = active is None or number > active
        if (name, number) in kept or (newer and now - since < FRESH_SECONDS):
            wanted = "update"
    return Held(name, number, blobs, own, since, wanted)


def _wanted(releases: Releases, name: str, number: int) -> str:
    """Say whether a release serves, or is the one to go back to."""
    if releases.active(name) == number:
        return "active"
    return "previous" if releases.previous(name) == number else ""


def _sweep_folders(releases: Releases) -> None:
    """Delete folders that are empty now, and make all of it durable.

    Raises:
        OSError: the disk says no.
    """
    for top in (releases.blobs.root / "sha256", releases.root):
        with contextlib.suppress(FileNotFoundError):
            for folder in top.iterdir():
                if folder.is_dir():
                    _drop_if_empty(folder)
            sync_folder(top)


def _drop_if_empty(folder: Path) -> None:
    """Delete a folder that holds nothing but the note of a release to go back to."""
    names = [path.name for path in folder.iterdir()]
    if names == [".previous"]:
        (folder / ".previous").unlink()
        names = []
    if names:
        sync_folder(folder)
    else:
        folder.rmdir()
