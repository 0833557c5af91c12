"""Published releases on this board: staged from blobs, made the active one by one link, kept, gone.

`releases/<name>/<release>/` holds hard links to blobs and the `manifest.json` that was signed: a
package folder like any other. `experts/<name>` is a link to one of
them. Each step is durable when its function returns, and may be done again after a crash.

Whoever fetches and stages holds `busy()`, so that nothing is collected under its hands.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.release import ChunkIndex, Release, Rollout
from aiosd.protocol.release_json import MAX_BYTES, NAME, decode_release
from aiosd.store.active_links import ActiveLinks
from aiosd.store.blobs import Blobs
from aiosd.store.durable import (
    make_folders,
    replace_file,
    replace_link,
    sync_folder,
    write_new,
)
from aiosd.store.failpoint import reach
from aiosd.store.layout import Layout
from aiosd.store.packages import Installed, check_files, is_package, read_manifest

_LOCK = ".lock"
_STAGING = ".staging-"
_GONE = ".gone-"
_PREVIOUS = ".previous"
_MENDING = ".mending-"


class Releases:
    """The releases below one layout, and the links that make one of each expert the active one."""

    def __init__(self, layout: Layout) -> None:
        """Take the paths; nothing is made before something is staged."""
        self.root = layout.releases
        self.experts = layout.experts[0]
        self.blobs = Blobs(layout.blobs)
        self._links = ActiveLinks(self.experts, self.root)

    def folder(self, name: str, release: int) -> Path:
        """Return where a release is, or would be."""
        return self.root / name / str(release)

    def names(self) -> list[str]:
        """Return the experts of which there are releases."""
        with contextlib.suppress(FileNotFoundError):
            found = [path.name for path in self.root.iterdir() if not path.name.startswith(".")]
            return sorted(found)
        return []

    def installed(self, name: str) -> list[int]:
        """Return the releases of an expert that are whole on this board, the oldest first."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folders = (path for path in (self.root / name).iterdir() if path.name.isdecimal())
            return sorted(int(path.name) for path in folders if is_package(path))
        return []

    def active(self, name: str) -> int | None:
        """Return the release that `experts/<name>` is, a plain folder's too; None without one."""
        linked = self._links.release(name)
        if linked is not None:
            return linked
        with contextlib.suppress(PackageError):
            return read_manifest(self.experts / name).release
        return None

    def previous(self, name: str) -> int | None:
        """Return the release to go back to: the one before the active one, if it is here."""
        active = self.active(name)
        here = self.installed(name)
        with contextlib.suppress(OSError, ValueError):
            kept = int((self.root / name / _PREVIOUS).readlink().name)
            if kept in here and kept != active:
                return kept
        older = [release for release in here if active is not None and release < active]
        return older[-1] if older else None

    def release(self, name: str, release: int) -> Release | None:
        """Return what was published; None for a package that was installed from a plain folder.

        Raises:
            PackageError: `manifest.json` is damaged.
        """
        path = self.folder(name, release) / NAME
        try:
            with path.open("rb") as file:
                return decode_release(file.read(MAX_BYTES + 1), path=str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error

    def open(self, name: str, release: int) -> Installed:
        """Return a release as a package, its files present and of the declared size.

        Raises:
            PackageError: it is not here, or is damaged.
        """
        folder = self.folder(name, release)
        installed = Installed(read_manifest(folder), folder)
        check_files(installed)
        return installed

    def indexes(self) -> dict[str, ChunkIndex]:
        """Return how the blobs of all releases here are cut; a damaged release tells nothing."""
        found: dict[str, ChunkIndex] = {}
        for name in self.names():
            for number in self.installed(name):
                with contextlib.suppress(PackageError):
                    release = self.release(name, number)
                    for file in release.files if release else []:
                        if file.chunks is not None and self.blobs.has(file.sha256, file.size):
                            found[file.sha256] = file.chunks
        return found

    def stage(self, manifest_json: bytes) -> Path:
        """Make the folder of a release, whose blobs are all here; nothing serves it yet.

        A release that is here already stays as it is, but for a `manifest.json` with another
        rollout or floor, and for files that are missing or no longer the blobs that are here.

        Raises:
            PackageError: `manifest_json` is none, a blob is missing, or the same release is here
                with other content: releases never change.
            OSError: the disk says no; nothing is left behind but what the next `stage` clears.
        """
        release = decode_release(manifest_json)
        target = self.folder(release.name, release.release)
        for sha256, size in release.blobs.items():
            if not self.blobs.has(sha256, size):
                raise PackageError(f"{target}: the blob {sha256} is not here; fetch it first")
        make_folders(target.parent)
        self._clear(target.parent)
        if target.exists():
            return self._restage(release, target, manifest_json)
        staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{release.release}-", dir=target.parent))
        try:
            self._fill(staging, release, manifest_json)
            reach("stage.rename")
            staging.rename(target)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        reach("stage.renamed")
        sync_folder(target.parent)
        reach("stage.durable")
        return target

    def activate(self, name: str, release: int) -> Path:
        """Make a release the one that `experts/<name>` is, in one step; return its folder.

        The one it was stays on the disk, and is `previous` unless it is the newer one. A plain
        folder that is in the way becomes a release itself.

        Raises:
            PackageError: the release is not here.
            OSError: the disk says no; the one that was active still is.
        """
        target = self.folder(name, release)
        if not is_package(target):
            raise PackageError(f"{target}: release {release} of {name} is not on this board")
        make_folders(self.experts)
        self._links.tidy(name)
        if self._links.release(name) == release:
            sync_folder(self.experts)
            return target
        self._remember(name, self.active(name), release)
        reach("activate.begin")
        self._links.point(name, release)
        reach("activate.done")
        return target

    def deactivate(self, name: str) -> None:
        """Take the link away, so that a package of that name in a later folder shows again.

        Raises:
            OSError: the disk says no.
        """
        self._links.remove(name)

    def forget(self, name: str, release: int) -> None:
        """Delete a release that is not active; its blobs stay until they are collected.

        Raises:
            PackageError: it is active.
            OSError: the disk says no.
        """
        folder = self.folder(name, release)
        if self._links.release(name) == release:
            raise PackageError(f"{folder}: it is the active release; activate another one first")
        if not folder.exists():
            return
        gone = folder.with_name(f"{_GONE}{release}")
        shutil.rmtree(gone, ignore_errors=True)
        reach("forget.rename")
        folder.rename(gone)
        sync_folder(folder.parent)
        reach("forget.delete")
        shutil.rmtree(gone, ignore_errors=True)
        reach("forget.done")

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Keep collectors away while something is fetched and staged.

        Raises:
            PackageError: a collector is at work.
            OSError: the folder cannot be made.
        """
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else away who fetches, stages or collects.

        Raises:
            PackageError: somebody is at work.
            OSError: the folder cannot be made.
        """
        with self._lock(fcntl.LOCK_EX):
            yield

    def recover(self) -> None:
        """Finish or undo what a process that died left half done.

        Raises:
            OSError: the disk says no.
        """
        for name in self.names():
            self._clear(self.root / name)
        self._links.recover()

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        make_folders(self.root)
        handle = os.open(self.root / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PackageError(
                    f"{self.root}: an update or a collection is at work here; try again later",
                    path=str(self.root),
                ) from None
            yield
        finally:
            os.close(handle)

    def _fill(self, staging: Path, release: Release, manifest_json: bytes) -> None:
        """Write a whole release into `staging`, and make it durable."""
        for file in release.files:
            reach("stage.link")
            _link(self.blobs.path(file.sha256), staging / file.path)
        reach("stage.manifest")
        write_new(staging / NAME, manifest_json)
        staging.chmod(0o755)
        reach("stage.sync")
        sync_folder(staging)

    def _restage(self, release: Release, target: Path, manifest_json: bytes) -> Path:
        """Check that a release which is here already is the same one, and take its new terms."""
        present = self.release(release.name, release.release)
        if present is None or _content(present) != _content(release):
            raise PackageError(
                f"{target}: release {release.release} of {release.name} is here with other "
                "content; a release never changes: publish a new one",
                path=str(target),
            )
        for file in release.files:
            self._mend(target / file.path, file.sha256)
        if present != release:
            reach("stage.terms")
            replace_file(target / NAME, manifest_json)
        sync_folder(target.parent)
        return target

    def _mend(self, path: Path, sha256: str) -> None:
        """Give a release the blob that is here now, if it has another file or none in its place."""
        blob = self.blobs.path(sha256)
        with contextlib.suppress(OSError):
            if path.samefile(blob):
                return
        draft = path.with_name(f"{_MENDING}{path.name}")
        draft.unlink(missing_ok=True)
        _link(blob, draft)
        reach("stage.mend")
        draft.replace(path)
        sync_folder(path.parent)

    def _remember(self, name: str, active: int | None, coming: int) -> None:
        """Note the active release as the one to go back to, unless this is the way back."""
        note = self.root / name / _PREVIOUS
        if active is not None and active < coming:
            replace_link(note, str(active))
        elif note.is_symlink():
            note.unlink()
            sync_folder(note.parent)

    def _clear(self, folder: Path) -> None:
        """Delete what a process that died left in an expert's folder."""
        for left in folder.iterdir():
            if left.name.startswith((_STAGING, _GONE)):
                shutil.rmtree(left, ignore_errors=True)


def _content(release: Release) -> Release:
    """Return a release without the terms on which it is offered."""
    return msgspec.structs.replace(
        release, created="1970-01-01T00:00:00Z", security_floor=0, rollout=Rollout()
    )


def _link(blob: Path, path: Path) -> None:
    """Put a blob into a release, by a hard link where the file system has them.

    Raises:
        OSError: the disk says no.
    """
    try:
        path.hardlink_to(blob)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV):
            raise
        path.symlink_to(os.path.relpath(blob, path.parent))
