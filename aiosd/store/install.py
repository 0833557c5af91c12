"""Putting a package into an experts folder, and taking it out: wholly or not at all.

A package is staged beside its place under a name with a leading dot (which a scan passes over),
every byte is hashed on its way, all is made durable, and one rename puts it in place. The release
it replaces stays aside until then. One installer works on an experts folder at a time.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.store.durable import sync_folder
from aiosd.store.exchange import exchange
from aiosd.store.failpoint import reach
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import (
    Installed,
    check_file,
    decode_manifest,
    is_package,
    manifest_toml,
    read_manifest,
)

CHUNK_BYTES = 1_048_576
# What folders, names and the manifest take beside the files, rounded up to whole blocks.
OVERHEAD_BYTES = 65_536

_LOCK = ".lock"
_STAGING = ".staging-"
_ASIDE = ".aside-"

# A folder that its group may change makes packages that its group may replace.
_SHARED = stat.S_ISGID | stat.S_IWGRP


class NoRoomError(PackageError):
    """The disk has no room for the package; nothing was installed and nothing was left behind."""

    def __init__(self, path: Path, *, need_bytes: int, have_bytes: int) -> None:
        """Take the folder, what the package needs there and what is free."""
        super().__init__(
            f"{path}: no room: the package needs {need_bytes} bytes and {have_bytes} are free; "
            "free some space or remove an expert",
            path=str(path),
        )
        self.need_bytes = need_bytes
        self.have_bytes = have_bytes


def install(
    source: Path, experts: Path, *, models: Sequence[Path] = (), allow_older: bool = False
) -> Installed:
    """Install the package at `source` into `experts`, replacing the release that is there.

    `source` is a package folder or its `expert.toml`. A file that is not in that folder is looked
    for in `models`: a folder there holds files by the names in the manifest, a file there is the
    model whatever its name. The running daemon sees the package at its next reload.

    Raises:
        PackageError: the package is not what its manifest claims, a file is nowhere to be found,
            an older release would replace a newer one without `allow_older`, another installer is
            at work, or `experts` cannot be written (`NoRoomError` if it is full). What was
            installed before is then still installed.
    """
    folder = source.parent if source.name == MANIFEST and not source.is_dir() else source
    data = manifest_toml(folder)
    manifest = decode_manifest(data, folder)
    sources = {file.path: _locate(file, folder, models) for file in manifest.files}
    need_bytes = sum(file.size for file in manifest.files) + len(data) + OVERHEAD_BYTES
    with _writing(experts, need_bytes):
        experts.mkdir(parents=True, exist_ok=True)
        with _alone(experts):
            _refuse_older(manifest, experts / manifest.name, allow_older=allow_older)
            _check_room(experts, need_bytes)
            staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{manifest.name}-", dir=experts))
            try:
                _stage(staging, manifest, data, sources)
                _put_in_place(staging, experts / manifest.name)
            finally:
                _discard(staging)
    return Installed(manifest, experts / manifest.name)


def remove(name: str, experts: Path) -> None:
    """Remove the expert of that name from `experts`; a running worker keeps its open files.

    Raises:
        PackageError: it is not installed there, another installer is at work, or `experts` cannot
            be written.
    """
    target = experts / name
    if not name or Path(name).name != name or not is_package(target):
        raise PackageError(f"{experts}: no expert named {name!r} is installed here", path=str(name))
    with _writing(experts, 0), _alone(experts):
        aside = Path(tempfile.mkdtemp(prefix=_STAGING, dir=experts))
        reach("remove.rename")
        target.rename(aside / name)
        sync_folder(experts)
        shutil.rmtree(aside, ignore_errors=True)


def recover(experts: Path) -> None:
    """Undo what an installer that died half-way left in `experts`; call under no other installer.

    A release that was set aside while its place is empty goes back; staged files are deleted.

    Raises:
        OSError: `experts` cannot be written.
    """
    for left in sorted(experts.glob(f"{_ASIDE}*")):
        target = experts / left.name.removeprefix(_ASIDE)
        if target.exists():
            _discard(left)
        else:
            left.rename(target)
    for left in experts.glob(f"{_STAGING}*"):
        _discard(left)


def _discard(path: Path) -> None:
    """Delete a package folder, or the link that a published release was active by."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _writing(experts: Path, need_bytes: int) -> Iterator[None]:
    """Turn what the file system says while `experts` is written into a PackageError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(experts, need_bytes=need_bytes, have_bytes=_free(experts)) from error
        raise PackageError(
            f"{error.filename or experts}: cannot write here: {error.strerror}", path=str(experts)
        ) from error


@contextlib.contextmanager
def _alone(experts: Path) -> Iterator[None]:
    """Hold the experts folder's lock, and first clear up after an installer that died.

    Raises:
        PackageError: another installer holds it.
    """
    handle = os.open(experts / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PackageError(
                f"{experts}: another installer is at work here; try again when it has ended",
                path=str(experts),
            ) from None
        recover(experts)
        yield
    finally:
        os.close(handle)


def _locate(file: PackageFile, folder: Path, models: Sequence[Path]) -> Path:
    """Return where the bytes of `file` lie: the first place that holds the declared size.

    Raises:
        PackageError: no place does; with what is wrong in the last place that has the file.
    """
    places = [folder / file.path]
    for model in models:
        if model.is_dir():
            places.append(model / file.path)
        elif file.role == "model":
            places.append(model)
    fault: PackageError | None = None
    for place in places:
        try:
            check_file(place, file)
        except PackageError as error:
            if fault is None or place.exists():
                fault = error
        else:
            return place
    raise fault or PackageError(f"{folder / file.path}: missing", path=str(folder / file.path))


def _refuse_older(manifest: Manifest, target: Path, *, allow_older: bool) -> None:
    """Refuse to replace a newer release, unless that is asked for.

    Raises:
        PackageError: the installed release is newer.
    """
    if allow_older or not is_package(target):
        return
    try:
        present = read_manifest(target)
    except PackageError:
        return  # a broken package may always be replaced
    if present.release > manifest.release:
        raise PackageError(
            f"{target}: release {present.release} is installed, and {manifest.release} is older; "
            "say so explicitly to go back",
            path=str(target),
        )


def _free(folder: Path) -> int:
    """Return the bytes that may still be written on the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _check_room(experts: Path, need_bytes: int) -> None:
    """Refuse before a byte is written if the disk has no room.

    Raises:
        NoRoomError: it has not.
    """
    have_bytes = _free(experts)
    if need_bytes > have_bytes:
        raise NoRoomError(experts, need_bytes=need_bytes, have_bytes=have_bytes)


def _stage(staging: Path, manifest: Manifest, data: bytes, sources: dict[str, Path]) -> None:
    """Write the whole package into `staging`, each file checked as it passes, and make it durable.

    Raises:
        PackageError: a file holds other bytes than declared.
        OSError: `staging` cannot be written.
    """
    for file in manifest.files:
        reach("install.copy")
        _copy(sources[file.path], staging / file.path, file)
    reach("install.manifest")
    with (staging / MANIFEST).open("xb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    reach("install.sync")
    staging.chmod(0o755 | staging.parent.stat().st_mode & _SHARED)
    sync_folder(staging)


def _copy(source: Path, target: Path, declared: PackageFile) -> None:
    """Copy one file and check size and sha256 of what was read.

    Raises:
        PackageError: `source` cannot be read or holds other bytes than declared.
        OSError: `target` cannot be written.
    """
    digest = hashlib.sha256()
    size = 0
    with _opened(source) as reader, target.open("xb", buffering=0) as writer:
        while chunk := _read(reader, source):
            digest.update(chunk)
            size += len(chunk)
            reach("install.write")
            _write_all(writer.fileno(), chunk)
        os.fsync(writer.fileno())
    actual = digest.hexdigest()
    if size != declared.size or actual != declared.sha256:
        raise PackageError(
            f"{source}: {size} bytes with sha256 {actual}, but the manifest says "
            f"{declared.size} bytes with {declared.sha256}",
            path=str(source),
        )


def _opened(source: Path) -> contextlib.AbstractContextManager[int]:
    """Open a source file for reading; its faults are the package's, not the target's.

    Raises:
        PackageError: it cannot be opened.
    """
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PackageError(f"{source}: {error.strerror}", path=str(source)) from error
    return _closing(handle)


@contextlib.contextmanager
def _closing(handle: int) -> Iterator[int]:
    """Close a file descriptor at the end."""
    try:
        yield handle
    finally:
        os.close(handle)


def _read(handle: int, source: Path) -> bytes:
    """Read the next chunk of a source file.

    Raises:
        PackageError: the disk reports an error.
    """
    try:
        return os.read(handle, CHUNK_BYTES)
    except OSError as error:
        raise PackageError(f"{source}: {error.strerror}", path=str(source)) from error


def _write_all(handle: int, chunk: bytes) -> None:
    """Write a whole chunk; a nearly full disk takes less than it is given."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _put_in_place(staging: Path, target: Path) -> None:
    """Make `staging` the package at `target`; the release it replaces ends up deleted.

    The swap is one step where the file system can exchange two names; elsewhere the old release
    is set aside first, and `recover` puts it back if the power fails between the two renames.

    Raises:
        OSError: the file system refuses; the old release is then still in place.
    """
    folder = target.parent
    if not target.exists():
        reach("install.rename")
        staging.rename(target)
        reach("install.renamed")
        sync_folder(folder)
        return
    reach("install.exchange")
    if exchange(staging, target):
        reach("install.exchanged")
        sync_folder(folder)
        return  # `staging` now holds the old release, which the caller deletes
    aside = folder / f"{_ASIDE}{target.name}"
    target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        aside.rename(target)
        raise
    sync_folder(folder)
    _discard(aside)
