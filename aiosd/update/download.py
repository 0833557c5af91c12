"""One blob on its way to the disk: fetched, hashed while it comes, and gone on with after any cut.

What is on the disk from an earlier run is hashed again and never believed. With a chunk index only
the chunks that no blob here holds are fetched. The blob is adopted when all of it has the digest
that was signed for, and at no other time.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiosd.domain.errors import PackageError
from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import Body, Origin, Part
from aiosd.policy.rollout.delta import Range
from aiosd.policy.rollout.download_pace import DownloadPace, PaceRules
from aiosd.store.assembly import Copied
from aiosd.store.blobs import Blobs
from aiosd.store.failpoint import reach
from aiosd.store.ledger import LedgerError, Progress

# How much may be lost to a power cut, and how rarely flash is bothered for that.
SYNC_BYTES = 8 * 1_048_576
_READ_BYTES = 1_048_576
# Connections that break in a row without a byte in between.
_PATIENCE = 3
_TAG_LENGTH = 200
_RESUMED = frozenset({Fault.BROKEN_OFF, Fault.STALLED})


class Memory(Protocol):
    """How far blobs have come, durably."""

    def progress(self, sha256: str) -> Progress:
        """Return how many bytes of a part are known to be on the disk, and of which state."""
        ...

    def set_progress(self, sha256: str, progress: Progress | None) -> None:
        """Remember it; None forgets."""
        ...


@dataclass(frozen=True)
class Clockwork:
    """Time, as far as a download needs it: a clock that never goes back, and a rest."""

    now: Callable[[], float]
    rest: Callable[[float], None]


@dataclass(frozen=True)
class Wanted:
    """A blob, and where the origin has it."""

    sha256: str
    size: int
    address: str


class Download:
    """Fetches blobs from one origin. `came` hears of bytes from the network, and may raise.

    `written` and `shared` count bytes of blobs that this one has written, or had other blobs share.
    """

    def __init__(
        self,
        origin: Origin,
        blobs: Blobs,
        memory: Memory,
        rules: PaceRules,
        clockwork: Clockwork,
        came: Callable[[int], None],
    ) -> None:
        """Take everything that is needed; nothing is opened yet."""
        self._origin = origin
        self._blobs = blobs
        self._memory = memory
        self._rules = rules
        self._clockwork = clockwork
        self._came = came
        self.written = self.shared = 0
        self._pace = DownloadPace(rules, clockwork.now())

    def fetch(self, wanted: Wanted) -> None:
        """Fetch a blob from where it was left, and adopt it.

        Raises:
            UpdateError: it does not come, is not what was signed for, or does not fit the disk.
        """
        with on_disk(), self._part(wanted) as handle:
            stream = _Stream(handle, wanted)
            stream.resume(self._memory.progress(wanted.sha256))
            self._restart()
            try:
                self._stream(wanted, stream)
            except UpdateError:
                self._save(wanted, stream)
                raise
            if stream.digest.hexdigest() != wanted.sha256:
                self._discard(wanted)
                raise _mismatch(wanted, stream.digest.hexdigest())
            self._adopt(wanted, handle)

    def fill(
        self,
        wanted: Wanted,
        fill_in: Callable[[int], Copied],
    ) -> None:
        """Fetch what is missing of a blob that others here have most of, and adopt it.

        `fill_in` is given the open part, of full size, brings in what is here already, and says
        what is still missing.

        Raises:
            UpdateError: as `fetch`.
        """
        with on_disk(), self._part(wanted) as handle:
            self._memory.set_progress(wanted.sha256, None)  # it will have holes
            reach("fetch.allocate")
            os.ftruncate(handle, wanted.size)
            copied = fill_in(handle)
            self.written += copied.written
            self.shared += copied.shared
            self._restart()
            for part in copied.missing:
                self._range(wanted, handle, part)
            reach("fetch.filled")
            actual = _digest(handle, wanted.size).hexdigest()
            if actual != wanted.sha256:
                self._discard(wanted)
                raise _mismatch(wanted, actual)
            self._adopt(wanted, handle)

    def _stream(self, wanted: Wanted, stream: "_Stream") -> None:
        """Fetch from where `stream` is to the end, over as many connections as it takes."""
        tries, started_over = _PATIENCE, False
        while stream.at < wanted.size:
            before = stream.at
            try:
                part = Part(stream.at, wanted.size, wanted.size)
                body = self._origin.open(wanted.address, wanted.size, part, stream.tag)
                _check_same(wanted, body, stream.tag)
                stream.tag = body.etag[:_TAG_LENGTH]
                self._take(wanted, stream, body)
            except UpdateError as error:
                self._origin.close()
                if error.fault is Fault.CHANGED and not started_over:
                    # What came before is of another file: once more, from the beginning.
                    started_over = True
                    stream.restart()
                    self._memory.set_progress(wanted.sha256, None)
                    continue
                tries = _PATIENCE if stream.at > before else tries - 1
                if error.fault not in _RESUMED or not tries:
                    raise
                self._save(wanted, stream)

    def _take(self, wanted: Wanted, stream: "_Stream", body: Body) -> None:
        """Write what comes; what is here already must be the same."""
        skip, skipped = stream.at - body.first, hashlib.sha256()
        while piece := body.read():
            self._pass(len(piece))
            if skip:
                known, piece = piece[:skip], piece[skip:]
                skipped.update(known)
                skip -= len(known)
                if not skip and skipped.digest() != stream.digest.digest():
                    raise UpdateError(Fault.CHANGED, f"{wanted.address}: it begins otherwise now")
            stream.write(piece)
            self.written += len(piece)
            if stream.unsaved >= SYNC_BYTES:
                self._save(wanted, stream)

    def _range(self, wanted: Wanted, handle: int, part: Range) -> None:
        """Fetch one range of a part."""
        at, end = part.offset, part.offset + part.size
        tries = _PATIENCE
        while at < end:
            before = at
            try:
                asked = Part(at, end, wanted.size)
                body = self._origin.open(wanted.address, wanted.size, asked)
                _check_part(wanted, body, at)
                while piece := body.read():
                    self._pass(len(piece))
                    _write_at(handle, piece, at)
                    self.written += len(piece)
                    at += len(piece)
            except UpdateError as error:
                self._origin.close()
                tries = _PATIENCE if at > before else tries - 1
                if error.fault not in _RESUMED or not tries:
                    raise

    def _pass(self, count: int) -> None:
        """Let bytes through at the pace that is allowed.

        Raises:
            UpdateError: they come too slowly, or are not wanted any more.
        """
        self._came(count)
        step = self._pace.took(count, self._clockwork.now())
        if step.too_slow:
            raise UpdateError(
                Fault.TOO_SLOW,
                f"less than {self._rules.bar:.0f} bytes a second over "
                f"{self._rules.window_seconds:.0f} s",
            )
        if step.rest_seconds:
            self._clockwork.rest(step.rest_seconds)

    def _restart(self) -> None:
        """Measure the pace from here on."""
        self._pace = DownloadPace(self._rules, self._clockwork.now())

    def _save(self, wanted: Wanted, stream: "_Stream") -> None:
        """Make what came durable, then remember that it is."""
        if not stream.unsaved:
            return
        reach("fetch.sync")
        try:
            os.fsync(stream.handle)
        except OSError:
            self._discard(wanted)  # the kernel tells of a lost page once
            raise
        stream.unsaved = 0
        reach("fetch.synced")
        self._memory.set_progress(wanted.sha256, Progress(bytes=stream.at, tag=stream.tag))
        reach("fetch.progress")

    def _adopt(self, wanted: Wanted, handle: int) -> None:
        """Give the part its name, if it is still the file whose bytes were hashed."""
        reach("fetch.verified")
        part = self._blobs.part(wanted.sha256)
        try:
            status = part.lstat()
        except FileNotFoundError:
            raise UpdateError(Fault.SWAPPED, f"{part}: it is gone") from None
        ours = os.fstat(handle)
        if (status.st_dev, status.st_ino) != (ours.st_dev, ours.st_ino):
            raise UpdateError(Fault.SWAPPED, f"{part}: it is not the file that was fetched")
        try:
            self._blobs.adopt(wanted.sha256, wanted.size)
        except PackageError as error:
            raise UpdateError(Fault.SWAPPED, error.message) from error
        reach("fetch.adopted")
        self._memory.set_progress(wanted.sha256, None)

    def _discard(self, wanted: Wanted) -> None:
        """Forget what came of a blob."""
        reach("fetch.discard")
        self._memory.set_progress(wanted.sha256, None)
        self._blobs.part(wanted.sha256).unlink(missing_ok=True)

    @contextmanager
    def _part(self, wanted: Wanted) -> Iterator[int]:
        """Open the part of a blob, and close it in the end."""
        reach("fetch.open")
        part = self._blobs.part(wanted.sha256)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(part, flags, 0o640)
        try:
            yield handle
        finally:
            os.close(handle)


class _Stream:
    """A part that is written from its beginning to its end, and its digest so far."""

    def __init__(self, handle: int, wanted: Wanted) -> None:
        self.handle = handle
        self.at = 0
        self.unsaved = 0
        self.tag = ""
        self.digest = hashlib.sha256()
        self._size = wanted.size

    def resume(self, kept: Progress) -> None:
        """Go on after the first bytes that are known to be durable, which are hashed again."""
        self.at = min(kept.bytes, os.fstat(self.handle).st_size, self._size)
        self.tag = kept.tag if self.at else ""
        reach("fetch.truncate")
        os.ftruncate(self.handle, self.at)
        self.digest = _digest(self.handle, self.at)

    def restart(self) -> None:
        """Begin again."""
        self.unsaved = 0
        self.resume(Progress())

    def write(self, piece: bytes) -> None:
        """Write and hash a piece."""
        _write_at(self.handle, piece, self.at)
        self.digest.update(piece)
        self.at += len(piece)
        self.unsaved += len(piece)


def _write_at(handle: int, piece: bytes, at: int) -> None:
    """Write all of a piece."""
    reach("fetch.write")
    rest = memoryview(piece)
    while rest:
        count = os.pwrite(handle, rest, at)
        rest, at = rest[count:], at + count


def _digest(handle: int, size: int) -> "hashlib._Hash":
    """Return the digest of the first `size` bytes of an open file."""
    digest, at = hashlib.sha256(), 0
    while at < size:
        piece = os.pread(handle, min(_READ_BYTES, size - at), at)
        if not piece:
            break
        digest.update(piece)
        at += len(piece)
    return digest


def _check_same(wanted: Wanted, body: Body, etag: str) -> None:
    """Refuse the rest of another file than the one whose beginning is here."""
    if etag and body.etag and body.etag != etag:
        raise UpdateError(Fault.CHANGED, f"{wanted.address}: it changed meanwhile")


def _check_part(wanted: Wanted, body: Body, at: int) -> None:
    """Refuse a whole file where a part was asked for."""
    if body.first != at:
        raise UpdateError(Fault.RANGE_LIED, f"{wanted.address}: the server gives no parts")


def _mismatch(wanted: Wanted, actual: str) -> UpdateError:
    return UpdateError(
        Fault.MISMATCH,
        f"{wanted.address}: sha256 is {actual}, but {wanted.sha256} was signed for",
    )


@contextmanager
def on_disk() -> Iterator[None]:
    """Turn what the disk and the ledger say into our words.

    Raises:
        UpdateError: instead of an OSError or a LedgerError.
    """
    try:
        yield
    except LedgerError as error:
        raise UpdateError(_disk_fault(error.__cause__), str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UpdateError(_disk_fault(error), f"{where}{error.strerror or error}") from error


def _disk_fault(error: BaseException | None) -> Fault:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Fault.NO_ROOM if full else Fault.DISK


def addressed(sha256: str) -> str:
    """Return where an origin has a blob."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def free_bytes(folder: Path) -> int:
    """Return what this process may still write at `folder`, or where it will be made.

    Raises:
        OSError: there is no such place at all.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def check_room(folder: Path, missing: int, reserve: int) -> None:
    """Refuse what would fill the disk: a tenth more than is missing, and the reserve, must be free.

    Raises:
        UpdateError: so it would.
    """
    free, need = free_bytes(folder), missing + missing // 10 + reserve
    if missing and free < need:
        raise UpdateError(
            Fault.NO_ROOM,
            f"{folder}: {need} bytes must be free ({missing} to fetch, a tenth more, and a "
            f"reserve of {reserve}), and {free} are",
        )
