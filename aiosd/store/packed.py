"""A packed release as a publisher's tools leave it: `manifest.json` and the blobs beside it."""

import errno
import os
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.protocol.release_json import MAX_BYTES, NAME, decode_release
from aiosd.store.blobs import Blobs
from aiosd.store.install import OVERHEAD_BYTES, NoRoomError
from aiosd.store.packages import Installed
from aiosd.store.releases import Releases

BLOBS = "blobs"


def is_packed(source: Path) -> bool:
    """Tell whether `source` is a packed release, or the `manifest.json` of one."""
    if source.is_dir():
        return (source / NAME).is_file() and (source / BLOBS).is_dir()
    return source.name == NAME


def bring(source: Path, releases: Releases, *, allow_older: bool = False) -> Installed:
    """Bring a packed release into the store; nothing serves it yet. The caller is `alone()`.

    No signature is asked for: whoever may install a plain folder may install this.

    Raises:
        PackageError: it is not what it claims, is older than the active release without
            `allow_older`, or does not fit the disk (`NoRoomError`).
    """
    folder = source if source.is_dir() else source.parent
    path = folder / NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error
    release = decode_release(data, path=str(path))
    active = releases.active(release.name)
    if active is not None and active > release.release and not allow_older:
        raise PackageError(
            f"{path}: release {active} is installed, and {release.release} is older; say so "
            "explicitly to go back",
            path=str(path),
        )
    there = Blobs(folder / BLOBS)
    need = sum(
        size for sha256, size in release.blobs.items() if not releases.blobs.has(sha256, size)
    )
    try:
        _check_room(releases.root, need + OVERHEAD_BYTES)
        for sha256, size in release.blobs.items():
            releases.blobs.put(there.path(sha256), sha256, size)
        staged = releases.stage(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(releases.root, need_bytes=need, have_bytes=0) from error
        raise PackageError(
            f"{error.filename or releases.root}: cannot write here: {error.strerror}",
            path=str(releases.root),
        ) from error
    return Installed(release.manifest, staged)


def _check_room(folder: Path, need_bytes: int) -> None:
    """Refuse before a byte is written if the disk has no room.

    Raises:
        NoRoomError: it has not.
    """
    status = os.statvfs(folder)
    have_bytes = status.f_bavail * status.f_frsize
    if need_bytes > have_bytes:
        raise NoRoomError(folder, need_bytes=need_bytes, have_bytes=have_bytes)
