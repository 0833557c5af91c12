"""Releases go up, on to more boards, and back: what a publisher signs, and what follows from it."""

from datetime import datetime
from pathlib import Path

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import TargetFile, Targets

from aiosd.domain.errors import PackageError
from aiosd.domain.release import Release, Rollout
from aiosd.protocol.canonical import decode
from aiosd.protocol.release_json import NAME, decode_release, encode_release
from aiosd.store.blobs import Blobs
from tools.expert.faults import PublisherError
from tools.expert.repository import Repository, target_path

STABLE, CANARY = "stable", "canary"


class Shelf:
    """One publisher's releases in a repository; nothing is written before `sign`."""

    def __init__(self, repository: Repository, expert: str, now: datetime) -> None:
        """Look at what is published of an expert.

        Raises:
            PublisherError: no publisher speaks for it, or the repository is damaged.
        """
        self.repository = repository
        self.expert = expert
        self.role = repository.publisher_of(expert)
        self._now = now
        number = repository.version(self.role)
        self.targets: Targets = repository.read(self.role).signed if number else Targets()
        self.targets.version = number + 1
        self.targets.expires = repository.late(now, repository.days.publisher)

    def entries(self) -> dict[int, TargetFile]:
        """Return the entries of the expert by release."""
        found: dict[int, TargetFile] = {}
        for path, target in self.targets.targets.items():
            parts = path.split("/")
            if parts[1] == self.expert:
                found[int(parts[2])] = target
        return dict(sorted(found.items()))

    def tree(self, release: int) -> dict[str, object]:
        """Return the manifest of a release as a tree.

        Raises:
            PublisherError: it is not published.
        """
        target = self.entries().get(release)
        if target is None:
            shown = ", ".join(map(str, self.entries())) or "none"
            raise PublisherError(
                f"release {release} of {self.expert} is not published here; published: {shown}"
            )
        tree = decode(self.repository.manifest(target))
        if not isinstance(tree, dict):
            raise PublisherError(f"release {release} of {self.expert}: damaged")
        return tree

    def channels(self, release: int) -> list[str]:
        """Return the channels of a release."""
        custom = self.entries()[release].custom
        named = custom.get("channels") if isinstance(custom, dict) else None
        return sorted(named) if isinstance(named, list) else []

    def put(self, tree: dict[str, object], channels: set[str]) -> Release:
        """Write a manifest and its entry.

        Raises:
            PackageError: the tree is no release.
        """
        data = encode_release(tree)
        release = decode_release(data)
        custom = {"channels": sorted(channels)}
        entry = self.repository.put_manifest(data, release.name, release.release, custom)
        self.targets.targets[entry.path] = entry
        return release

    def drop(self, release: int) -> None:
        """Take the entry of a release out."""
        self.targets.targets.pop(target_path(self.expert, release), None)

    def sign(self, signers: list[Signer], online: Signer | None) -> None:
        """Write the publisher's word; with the online key the whole repository says it at once.

        Raises:
            PublisherError: a key is not the one it must be.
        """
        self.repository.sign(self.role, self.targets, signers)
        if online is not None:
            self.repository.refresh(online, self._now)


def publish(shelf: Shelf, packed: Path, *, channel: str, percent: int | None = None) -> Release:
    """Put a packed release on the shelf, its blobs and its manifest.

    Raises:
        PublisherError: it is older than what is published, or the same number with other content.
        PackageError: it is not what it claims.
    """
    data = (packed / NAME).read_bytes()
    release = decode_release(data, path=str(packed / NAME))
    if release.name != shelf.expert:
        raise PublisherError(f"{packed}: is {release.name} and not {shelf.expert}")
    entries = shelf.entries()
    channels = {channel}
    if release.release in entries:
        present = decode_release(shelf.repository.manifest(entries[release.release]))
        if _content(present) != _content(release):
            raise PublisherError(
                f"release {release.release} of {release.name} is published with other content; "
                "a release never changes: raise the number in expert.toml"
            )
        channels |= set(shelf.channels(release.release))
    elif entries and release.release < max(entries):
        raise PublisherError(
            f"release {max(entries)} of {release.name} is published, and boards never go back: "
            "raise the number in expert.toml"
        )
    floor = max((_floor(shelf, number) for number in entries), default=0)
    tree = _tree(data)
    tree["security_floor"] = max(release.security_floor, floor)
    if percent is not None:
        tree["rollout"] = {"percent": percent}
    there = Blobs(packed / "blobs")
    for sha256, size in release.blobs.items():
        shelf.repository.blobs.put(there.path(sha256), sha256, size)
        shelf.repository.blobs.path(sha256).chmod(0o644)
    return shelf.put(tree, channels)


def promote(shelf: Shelf, release: int, *, channel: str, percent: int | None) -> Release:
    """Let boards of another channel take a release too, or more of them.

    Raises:
        PublisherError: it is not published.
    """
    tree = shelf.tree(release)
    if percent is not None:
        tree["rollout"] = {"percent": percent}
    return shelf.put(tree, {*shelf.channels(release), channel})


def revoke(shelf: Shelf, release: int, *, created: str) -> Release:
    """Take a release and all before it back, for ever, and return what boards take instead.

    That is the next release that is published; or, if there is none, the last one before it once
    more, under the next number: boards never go back, and blobs that they have are not fetched.

    Raises:
        PublisherError: it is not published, or there is nothing to take instead.
    """
    shelf.tree(release)
    numbers = list(shelf.entries())
    later = [number for number in numbers if number > release]
    earlier = [number for number in numbers if number < release]
    if later:
        instead, number = later, later[0]
    elif earlier:
        instead, number = earlier[-1:], release + 1
    else:
        raise PublisherError(
            f"release {release} is the only one of {shelf.expert}: publish a better one first, "
            "then revoke this one"
        )
    channels = set(shelf.channels(release))
    made: Release | None = None
    for old in instead:
        tree = shelf.tree(old)
        if not later:
            package = tree["package"]
            if not isinstance(package, dict):
                raise PublisherError(f"release {old} of {shelf.expert}: damaged")
            tree |= {
                "release": number,
                "created": created,
                "package": {**package, "release": number},
            }
            tree["rollout"] = {"percent": 100}
        floor = tree.get("security_floor", 0)
        tree["security_floor"] = max(floor if isinstance(floor, int) else 0, release + 1)
        kept = shelf.put(tree, channels | set(shelf.channels(old)))
        made = made or kept
    for old in [*earlier, release]:
        shelf.drop(old)
    if made is None:
        raise PublisherError(f"nothing of {shelf.expert} is left")
    return made


def _tree(data: bytes) -> dict[str, object]:
    tree = decode(data)
    if not isinstance(tree, dict):
        raise PackageError(f"{NAME}: no map")
    return tree


def _floor(shelf: Shelf, release: int) -> int:
    return decode_release(shelf.repository.manifest(shelf.entries()[release])).security_floor


def _content(release: Release) -> Release:
    """Return a release without the terms on which it is offered."""
    return msgspec.structs.replace(
        release, created="1970-01-01T00:00:00Z", security_floor=0, rollout=Rollout()
    )
