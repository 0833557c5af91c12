"""Manifests as they were read before, so that thousands of packages need not be parsed each time.

A manifest is taken as unchanged as a model is (`file_state.py`). The book is a cache of one release
of aiosd: the files that hold the rules are part of its key, so that another release reads every
manifest anew.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiosd.domain import manifest as manifest_module
from aiosd.domain import release as release_module
from aiosd.domain.manifest import Manifest
from aiosd.store import packages as packages_module
from aiosd.store.file_state import SETTLED_NS, FileState, fields_of
from aiosd.store.packages import manifest_path, read_manifest

log = logging.getLogger(__name__)

# Below so many packages reading them takes no longer than reading the book.
FEWEST = 64


class Kept(FileState, frozen=True, array_like=True):
    """A state of the file that a manifest was read from, and the manifest."""

    manifest: Manifest


class _Book(msgspec.Struct, frozen=True):
    """The book as it is written; `rules` says which release's."""

    rules: list[int]
    kept: dict[str, Kept]


class Manifests:
    """What was read before, in one file of the state folder."""

    def __init__(self, book: Path | None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Read the book when it is first needed; with None nothing is kept beyond this object."""
        self._book = book
        self._now_ns = now_ns
        self._kept: dict[str, Kept] | None = None
        self._seen: dict[str, Kept] = {}
        self._news = False

    def read(self, folder: Path) -> Manifest:
        """Return the manifest in a package folder.

        Raises:
            PackageError: as `read_manifest`.
        """
        path = manifest_path(folder)
        name = os.fspath(path)
        if self._kept is None:
            self._kept = _read(self._book) if self._book is not None else {}
        try:
            status = path.stat()
        except OSError:
            return read_manifest(folder)  # which says what is wrong
        kept = self._kept.get(name)
        if kept is not None and kept.fits(status):
            self._seen[name] = kept
            return kept.manifest
        manifest = read_manifest(folder)
        if self._now_ns() - status.st_ctime_ns >= SETTLED_NS:
            self._seen[name] = Kept(*fields_of(status), manifest)
            self._news = True
        return manifest

    def close(self) -> None:
        """Keep what was seen since the last time, and forget what is gone."""
        gone = self._kept is not None and self._kept.keys() != self._seen.keys()
        if self._book is not None and (self._news or gone) and len(self._seen) >= FEWEST:
            draft = self._book.with_suffix(".new")
            try:
                draft.write_bytes(msgspec.msgpack.encode(_Book(_rules(), self._seen)))
                draft.replace(self._book)
            except OSError as error:
                log.warning("%s: %s; packages are read anew each time", self._book, error)
        self._kept, self._seen, self._news = self._seen, {}, False


def _rules() -> list[int]:
    """Return what tells this release's rules from another's."""
    found = []
    for module in (manifest_module, release_module, packages_module):
        status = Path(module.__file__ or ".").stat()
        found += [status.st_mtime_ns, status.st_size]
    return found


def _read(book: Path) -> dict[str, Kept]:
    """Return what is in the book; nothing if it is missing, damaged or of another release."""
    try:
        found = msgspec.msgpack.decode(book.read_bytes(), type=_Book)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; packages are read anew", book, error)
        return {}
    return found.kept if found.rules == _rules() else {}
