"""Text heads in the state folder, each a file named by its key; a cache, safe to delete."""

import contextlib
import logging
import os
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import FileName
from aiosd.policy.routing.head import Head, HeadError, HeadFacts, decode_facts, decode_head
from aiosd.policy.routing.lessons import Lesson, TextFile, in_order
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)

# The present one, and a few to go back to when a package is removed again.
KEPT = 4
_HEARD = (InputType.TEXT, InputType.CHAT)


def lessons_of(experts: Iterable[Installed]) -> list[Lesson]:
    """Return what the router learns of the experts that take a text."""
    return [
        _lesson(each)
        for each in experts
        if each.manifest.input.type in _HEARD
        and (each.manifest.routing.utterances or each.manifest.routing.examples)
    ]


class Heads:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        """Look into `folder`, which need not exist yet."""
        self.folder = folder
        self._ahead: tuple[str, Head | None] = ("", None)

    def read(self, key: str) -> Head | None:
        """Return the head of that key, or None where there is none that can be read.

        The file stays open: of megabytes of words only those that are said are read.
        """
        (ready, head), self._ahead = self._ahead, ("", None)
        if head is not None and ready == key:
            return head
        try:
            return decode_head(Opened(self._path(key)))
        except FileNotFoundError:
            return None
        except (OSError, HeadError) as error:
            log.warning("%s: %s; it is made anew", self._path(key), error)
            return None

    def read_ahead(self, key: str) -> None:
        """Have the head of that key ready for who reads it next: laying it out takes long."""
        self._ahead = key, self.read(key)

    def facts(self, key: str) -> HeadFacts | None:
        """Return the header of the head of that key, or None."""
        with contextlib.suppress(OSError, HeadError):
            return decode_facts(self._path(key).read_bytes())[0]
        return None

    def keep(self, key: str, data: bytes) -> None:
        """Write a head, and delete the oldest ones; where that cannot be it is made again later.

        It need not survive a power cut, so it is not synced: a torn file is found out when read.
        """
        path = self._path(key)
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(path)
            stamps = {each: each.stat().st_mtime_ns for each in self.folder.glob("*.head")}
            for old in sorted(stamps, key=stamps.__getitem__)[:-KEPT]:
                if old != path:
                    old.unlink()
        except OSError as error:
            log.warning("%s: %s; the head is made again after a restart", path, error.strerror)

    def pages(self) -> int | None:
        """Return a descriptor of what the fitter keeps from run to run; None where it may not."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self.folder / "pages", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("%s: %s; heads are made from the beginning", self.folder, error.strerror)
            return None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.head"


class Opened:
    """A file as bytes that are read when they are asked for; it stays open as long as this is."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be opened.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self._size = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        first, last, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(0, last - first), first)


@dataclass(frozen=True)
class Errand:
    """A fitter to be started: its command, and the descriptors that it inherits."""

    command: list[str]
    lessons: int
    head: int
    pages: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the process must inherit; all belong to this side and are closed by `take`."""
        more = () if self.pages is None else (self.pages,)
        return self.lessons, self.head, *more

    def take(self) -> bytes:
        """Return what the fitter wrote, and close everything."""
        if self.pages is not None:
            os.close(self.pages)
        with os.fdopen(self.lessons, "rb"), os.fdopen(self.head, "rb") as head:
            head.seek(0)
            return head.read()


def errand(lessons: Iterable[Lesson], pages: int | None = None) -> Errand:
    """Return what to start for a head of these lessons.

    Lessons and head travel in memory files, and what is kept from run to run in an open one
    (`pages`), so that the fitter opens nothing to write.
    """
    source = os.memfd_create("aiosd-lessons", 0)
    head = os.memfd_create("aiosd-head", 0)
    os.write(source, msgspec.msgpack.encode(in_order(lessons)))
    command = [sys.executable, "-P", "-m", "aiosd.fitter"]
    command += ["--lessons", str(source), "--head", str(head)]
    if pages is not None:
        command += ["--pages", str(pages)]
    return Errand(command, source, head, pages)


def _lesson(installed: Installed) -> Lesson:
    """Return what a package teaches."""
    routing = installed.manifest.routing
    return Lesson(
        expert=installed.manifest.name,
        utterances=routing.utterances,
        refuses=routing.refuses,
        examples=_file(installed, routing.examples),
        calibration=_file(installed, routing.calibration),
    )


def _file(installed: Installed, name: FileName | None) -> TextFile | None:
    """Return where a file of the package lies, and its digest as the manifest has it."""
    if name is None:
        return None
    for each in installed.manifest.files:
        if each.path == name:
            return TextFile(sha256=each.sha256, path=str(installed.path_of(each)))
    return None
