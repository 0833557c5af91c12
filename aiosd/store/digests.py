"""Whether a file holds the bytes its manifest declares, hashed once for as long as it is unchanged.

A file changed less than a moment ago is hashed but not remembered (`file_state.py`).
"""

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import PackageFile
from aiosd.store.durable import replace_file
from aiosd.store.file_state import SETTLED_NS, FileState, fields_of
from aiosd.store.packages import Installed, check_file

log = logging.getLogger(__name__)

Aside = Callable[[Callable[[], None]], object]


class Stamp(FileState, frozen=True, array_like=True):
    """A state of a file, and the digest it had then."""

    sha256: str


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """The remembered stamps, as they are written."""

    version: int
    stamps: dict[str, Stamp]


class Digests:
    """The digests of files, remembered in one file of the state folder.

    A missing or damaged book is an empty one. A book that cannot be written costs time and no
    safety: files are then hashed once in each process, and one warning says so.
    """

    VERSION = 1

    def __init__(self, book: Path | None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Read the book, if there is one; with None nothing is kept beyond this object."""
        self._book = book
        self._now_ns = now_ns
        self._writing = threading.Lock()
        self._warned = False
        self._news = False
        self._stamps = _read(book) if book is not None else {}

    def verify(self, installed: Installed) -> None:
        """Check every file of a package; blocking, a second or more for each unseen gigabyte.

        Raises:
            PackageError: a file is missing, or has another size or other bytes than declared.
        """
        for file in installed.manifest.files:
            self.verify_file(installed.path_of(file), file)
        if self._news:
            self._news = False
            self._write()

    def verify_file(self, path: Path, declared: PackageFile) -> None:
        """Check one file as `verify` does, without writing the book.

        Raises:
            PackageError: as `verify`.
        """
        check_file(path, declared)
        actual = self.digest(path)
        if actual != declared.sha256:
            raise PackageError(
                f"{path}: sha256 is {actual}, but the manifest says {declared.sha256}; "
                "the file is damaged or another release: install the package again",
                path=str(path),
            )

    def unseen(self, installed: Installed) -> dict[str, os.stat_result]:
        """Return the files that must be hashed before they are trusted, with their status now.

        Raises:
            PackageError: a file cannot be looked at.
        """
        found: dict[str, os.stat_result] = {}
        for file in installed.manifest.files:
            path = installed.path_of(file)
            try:
                status = path.stat()
            except OSError as error:
                raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error
            stamp = self._stamps.get(str(path))
            if stamp is None or not stamp.fits(status) or stamp.sha256 != file.sha256:
                found[file.path] = status
        return found

    def remember(
        self,
        installed: Installed,
        hashed: dict[str, os.stat_result],
        aside: Aside = lambda work: work(),
    ) -> None:
        """Trust files that a worker has hashed, if they are still as `unseen` found them.

        The book is written by `aside`, in a thread if so it is: a file system that brings a journal
        to the disk keeps everybody waiting who makes or renames a file.
        """
        for file in installed.manifest.files:
            before = hashed.get(file.path)
            if before is None or self._now_ns() - before.st_ctime_ns < SETTLED_NS:
                continue
            stamp = _stamp(before, file.sha256)
            path = installed.path_of(file)
            with contextlib.suppress(OSError):  # gone meanwhile: there is nothing to remember
                if stamp.fits(path.stat()):
                    self._stamps[str(path)] = stamp
                    self._news = True
        if self._news:
            self._news = False
            aside(self._write)

    def digest(self, path: Path) -> str:
        """Return the sha256 of a file in hexadecimal, from memory if it is unchanged.

        Raises:
            PackageError: it cannot be read, or it changes while it is read.
        """
        key = str(path)
        try:
            with path.open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                stamp = self._stamps.get(key)
                if stamp is not None and stamp.fits(before):
                    return stamp.sha256
                self._stamps.pop(key, None)
                actual = hashlib.file_digest(file, "sha256").hexdigest()
                after = os.fstat(file.fileno())
        except OSError as error:
            raise PackageError(f"{path}: {error.strerror}", path=key) from error
        fresh = _stamp(after, actual)
        if not fresh.fits(before):
            raise PackageError(f"{path}: it changed while it was read", path=key)
        if self._now_ns() - after.st_ctime_ns >= SETTLED_NS:
            self._stamps[key] = fresh
            self._news = True
        return actual

    def _write(self) -> None:
        """Keep the book, without files that are gone; say once if that cannot be."""
        if self._book is None:
            return
        with self._writing:
            self._write_to(self._book)

    def _write_to(self, book: Path) -> None:
        """Write what is known by now, so that of two threads the later one writes no less."""
        stamps = {path: each for path, each in self._stamps.copy().items() if Path(path).exists()}
        data = msgspec.json.encode(_Book(version=self.VERSION, stamps=stamps))
        try:
            # Not waited for: the daemon does this between requests, and a book that a power cut
            # tears costs hashing the models once more.
            replace_file(book, data, durable=False)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s: %s; model files will be hashed again after each start",
                    book,
                    error.strerror,
                )


def _stamp(status: os.stat_result, sha256: str) -> Stamp:
    """Return the stamp of a file of that status and digest."""
    return Stamp(*fields_of(status), sha256)


def _read(book: Path) -> dict[str, Stamp]:
    """Return the stamps in the book; none if it is missing, damaged or of another version."""
    try:
        kept = msgspec.json.decode(book.read_bytes(), type=_Book)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; model files will be hashed again", book, error)
        return {}
    return kept.stamps if kept.version == Digests.VERSION else {}
