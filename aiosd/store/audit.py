"""Whether everything in the store is what was signed: each file read once, whatever its names."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.protocol.release_json import NAME, package_toml
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import is_package, read_manifest
from aiosd.store.releases import Releases

Tell = Callable[[Path], None]


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was published: where, and what is wrong."""

    path: Path
    reason: str


@dataclass
class Audit:
    """What was read and found; `damaged` are blobs, by the digests that they should have."""

    releases: int = 0
    files: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    _seen: dict[tuple[int, int], str] = field(default_factory=dict)

    def digest(self, path: Path) -> str:
        """Return the sha256 of a file; one that has several names is read once.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            key = status.st_dev, status.st_ino
            if key not in self._seen:
                self._seen[key] = hashlib.file_digest(file, "sha256").hexdigest()
                self.files += 1
                self.bytes += status.st_size
        return self._seen[key]


def audit(releases: Releases, tell: Tell | None = None) -> Audit:
    """Read every release and every blob; `tell` hears of each file before it is read.

    Nothing is changed, and nothing is written: a store on a read-only disk can be looked at too.
    """
    found = Audit()
    for name in releases.names():
        for number in releases.installed(name):
            found.releases += 1
            _check_release(releases, name, number, found, tell)
    for sha256, _ in releases.blobs.held():
        before = len(found.faults)
        _check_file(releases.blobs.path(sha256), sha256, found, tell)
        if len(found.faults) > before:
            found.damaged.append(sha256)
    _check_links(releases, found)
    return found


def _check_release(
    releases: Releases, name: str, number: int, found: Audit, tell: Tell | None
) -> None:
    """Check the files of one release against what was signed, or what the package declares."""
    folder = releases.folder(name, number)
    try:
        published = releases.release(name, number)
        if published is None:
            declared = [(file.path, file.sha256) for file in read_manifest(folder).files]
        else:
            declared = [(file.path, file.sha256) for file in published.files]
            _check_toml(folder, found)
    except PackageError as error:
        found.faults.append(Fault(folder, error.message))
        return
    except OSError as error:
        found.faults.append(Fault(folder, error.strerror or str(error)))
        return
    for path, sha256 in declared:
        _check_file(folder / path, sha256, found, tell)


def _check_toml(folder: Path, found: Audit) -> None:
    """Check the `expert.toml` of a release, which is read first where there is one.

    Raises:
        OSError: a file cannot be read.
    """
    place = folder / MANIFEST
    if not place.exists():
        return
    if place.read_bytes() != package_toml((folder / NAME).read_bytes()).encode("utf-8"):
        found.faults.append(Fault(place, f"not what {NAME} says"))


def _check_file(path: Path, sha256: str, found: Audit, tell: Tell | None) -> None:
    if tell is not None:
        tell(path)
    try:
        actual = found.digest(path)
    except OSError as error:
        found.faults.append(Fault(path, error.strerror or str(error)))
        return
    if actual != sha256:
        found.faults.append(Fault(path, f"damaged: its sha256 is {actual} and not {sha256}"))


def _check_links(releases: Releases, found: Audit) -> None:
    """Check that each active release is there."""
    if not releases.experts.is_dir():
        return
    for place in sorted(releases.experts.iterdir()):
        if place.is_symlink() and not is_package(place):
            found.faults.append(Fault(place, f"leads to {place.readlink()}, which is not there"))


def repair(releases: Releases, found: Audit) -> int:
    """Take damaged blobs out, so that the next install or update brings them anew; return how many.

    Raises:
        PackageError: somebody fetches, stages or collects.
        OSError: the disk says no.
    """
    with releases.alone():
        for sha256 in found.damaged:
            releases.blobs.delete(sha256)
    return len(found.damaged)
