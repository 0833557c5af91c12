"""What must be true of a board's disk whenever its power comes back: the invariants, checked.

Written apart from the product's own code, which it judges, and quick: it looks after every blow.
Nothing is written, so that whoever recovers next finds what the blow left, SQLite's log too.
"""

import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest
from aiosd.domain.rollout import Rollout, State
from aiosd.protocol.release_json import NAME, decode_release
from aiosd.store.catalogue import scan
from aiosd.store.digests import Digests
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import decode_manifest
from tools.torture.board import AIR, BAD, GUEST, HAND, Board

# Who serves at any moment, whatever happens.
ALWAYS = (AIR, HAND)


# A release in these waits for the updater's next run.
UPDATERS = (State.PLANNED, State.FETCHING, State.VERIFIED)


class Sworn:
    """What a board said that it has written, kept by whoever watches it die."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._did: dict[str, str] = {}
        self._may: dict[str, list[str]] = {}
        self.last_words = ""

    def hear(self, said: str, sure: int | None = None) -> None:
        """Take what was said, line by line; the last line may be half a one.

        Only of the first `sure` characters, where that is given, is it certain that what was told
        as done is durable.
        """
        at = 0
        for line in said.split("\n")[:-1]:
            at += len(line) + 1
            word, name, fact = line.split(" ", 2)
            if word in ("begins", "ends"):
                continue
            if word == "broke":
                self.last_words = fact
            elif word == "will" or (sure is not None and at > sure):
                self._may.setdefault(name, []).append(fact)
            else:
                self._did[name] = fact
                self._may.pop(name, None)

    def allowed(self, name: str) -> tuple[str, ...]:
        """Return what may be found: what was written for sure, or was being written."""
        done = [self._did[name]] if name in self._did else []
        return (*done, *self._may.get(name, ())) if done else ()

    def found(self, name: str, fact: str) -> None:
        """Take what was found as what is there."""
        self._did[name] = fact
        self._may.pop(name, None)


def broken(board: Board, sworn: Sworn) -> Iterator[str]:
    """Yield what is not as it must be right after a cut, before anything is mended."""
    disk = _Disk(board)
    yield from disk.serving()
    yield from _ledger(board, sworn)
    active = str(disk.active(HAND))
    allowed = sworn.allowed(HAND)
    if allowed and active not in allowed:
        yield f"{HAND}: release {active} is there, and {' or '.join(allowed)} was installed"
    sworn.found(HAND, active)


def unmended(board: Board) -> Iterator[str]:
    """Yield what is not as it must be once the board has done what it does at its start."""
    disk = _Disk(board)
    try:
        yield from _settled(board, disk.active(AIR))
    except sqlite3.Error as error:
        yield f"ledger: {error}"
    yield from disk.store()
    yield from disk.serving()


def unseen(board: Board) -> Iterator[str]:
    """Yield who does not serve by the daemon's own reading of the disk."""
    found = scan(board.layout.experts)
    for name in ALWAYS:
        installed = found.experts.get(name)
        if installed is None:
            why = "; ".join(each.reason for each in found.refused)
            yield f"{name} does not serve: {why}"
            continue
        try:
            Digests(None).verify(installed)
        except PackageError as error:
            yield f"{name}: {error.message}"


class _Disk:
    """A board's disk, looked at once: no bytes are hashed twice."""

    def __init__(self, board: Board) -> None:
        self._experts = os.fspath(board.layout.experts[0])
        self._blobs = os.fspath(board.releases.blobs.root / "sha256")
        self._releases = os.fspath(board.releases.root)
        self._digests: dict[int, str] = {}

    def active(self, name: str) -> int | None:
        """Return the release that serves."""
        try:
            return _manifest(f"{self._experts}/{name}").release
        except (OSError, PackageError):
            return None

    def serving(self) -> Iterator[str]:
        """Yield who does not serve; what serves is hashed to the last byte."""
        for name in (*ALWAYS, GUEST):
            folder = f"{self._experts}/{name}"
            if name in ALWAYS or _is_package(folder):
                yield from self._package(folder, name)
        active = self.active(AIR)
        if active is not None and active % BAD == 0:
            yield f"{AIR}: release {active} serves, whose self-tests fail"

    def store(self) -> Iterator[str]:
        """Yield blobs and releases that are not whole, and what was left lying about."""
        for begin in _listed(self._blobs):
            for sha256 in _listed(f"{self._blobs}/{begin}"):
                path = f"{self._blobs}/{begin}/{sha256}"
                if not sha256.endswith(".part") and self._digest(path) != sha256:
                    yield f"{path}: damaged"
        for name in _listed(self._releases):
            if name.startswith("."):
                continue
            for release in _listed(f"{self._releases}/{name}"):
                folder = f"{self._releases}/{name}/{release}"
                if release.startswith(".staging-"):
                    yield f"{folder}: left behind"
                elif release.isdecimal() and _is_package(folder):
                    yield from self._package(folder, name)

    def _package(self, folder: str, name: str) -> Iterator[str]:
        """Yield what is wrong with a package."""
        try:
            manifest = _manifest(folder)
            if manifest.name != name:
                yield f"{folder}: is {manifest.name}"
            for file in manifest.files:
                if self._digest(f"{folder}/{file.path}") != file.sha256:
                    yield f"{folder}/{file.path}: not what the manifest says"
        except (OSError, PackageError) as error:
            yield f"{folder}: {error}"

    def _digest(self, path: str) -> str:
        """Return the digest of a file's bytes; they are hashed once under all their names.

        Raises:
            OSError: it cannot be read.
        """
        handle = os.open(path, os.O_RDONLY)
        try:
            status = os.fstat(handle)
            known = self._digests.get(status.st_ino)
            if known is None and stat.S_ISREG(status.st_mode):
                known = hashlib.sha256(_bytes(os.dup(handle))).hexdigest()
                self._digests[status.st_ino] = known
            return known or ""
        finally:
            os.close(handle)


def _listed(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [each.name for each in found]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_package(folder: str) -> bool:
    return any(os.access(f"{folder}/{name}", os.F_OK) for name in (MANIFEST, NAME))


def _bytes(handle: int) -> bytes:
    """Return all bytes of an open file, and close it.

    Raises:
        OSError: it cannot be read.
    """
    with os.fdopen(handle, "rb", buffering=0) as file:
        return file.read()


def _manifest(folder: str) -> Manifest:
    """Read a manifest from the disk; the same bytes are parsed once.

    Raises:
        OSError: it cannot be read.
        PackageError: it is damaged.
    """
    try:
        return _parsed(_bytes(os.open(f"{folder}/{NAME}", os.O_RDONLY)), NAME)
    except FileNotFoundError:
        return _parsed(_bytes(os.open(f"{folder}/{MANIFEST}", os.O_RDONLY)), MANIFEST)


@lru_cache(maxsize=512)
def _parsed(data: bytes, kind: str) -> Manifest:
    if kind == NAME:
        return decode_release(data).manifest
    return decode_manifest(data, Path())


@contextmanager
def _opened(board: Board) -> Iterator[sqlite3.Connection]:
    """Open the ledger to read it alone, which folds no log into the file; an empty one if new.

    One that must be written before it can be read, because making it was cut off, is read in a
    copy.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    path = board.layout.ledger
    where = f"{path.as_uri()}?mode=ro" if path.exists() else ":memory:"
    with ExitStack() as stack:
        database = stack.enter_context(closing(sqlite3.connect(where, uri=True)))
        try:
            database.execute("PRAGMA user_version")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_READONLY"):
                raise
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for each in path.parent.glob(f"{path.name}*"):
                shutil.copy2(each, folder)
            database = stack.enter_context(closing(sqlite3.connect(folder / path.name)))
        yield database


def _row(database: sqlite3.Connection) -> Rollout | None:
    found = _first(database, "SELECT row FROM rollouts WHERE name=?")
    return msgspec.json.decode(found, type=Rollout) if isinstance(found, bytes) else None


def _first(database: sqlite3.Connection, query: str) -> object:
    """Return the one value that is asked for; None where the tables have not been made yet."""
    if database.execute("PRAGMA user_version").fetchone()[0] == 0:
        return None
    found = database.execute(query, (AIR,)).fetchone()
    return found[0] if found else None


def _ledger(board: Board, sworn: Sworn) -> Iterator[str]:
    """Yield what the ledger lost, or made up."""
    try:
        with _opened(board) as database:
            verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
            row = _row(database)
    except (sqlite3.Error, msgspec.DecodeError) as error:
        yield f"ledger: {error}"
        return
    if verdict != "ok":
        yield f"ledger: {verdict}"
    fact = f"{row.release} {row.state}" if row else "none"
    allowed = sworn.allowed(AIR)
    if allowed and fact not in allowed:
        yield f"ledger: {fact} is there, and {' or '.join(allowed)} was written"
    if row:
        sworn.found(AIR, fact)


def _settled(board: Board, active: int | None) -> Iterator[str]:
    """Yield what is left undone.

    Raises:
        sqlite3.Error: the ledger cannot be read.
    """
    with _opened(board) as database:
        row = _row(database)
        floor = _first(database, "SELECT release FROM floors WHERE name=?")
    if row is None:
        return
    if not row.ended and row.state not in UPDATERS:
        yield f"{AIR}: release {row.release} is left {row.state}"
    if row.state is State.COLLECTED and active != row.release:
        yield f"{AIR}: release {row.release} is committed, and {active} serves"
    if row.state is State.QUARANTINED and active == row.release:
        yield f"{AIR}: release {row.release} is quarantined, and serves"
    if row.state is State.COLLECTED and floor != row.release:
        yield f"{AIR}: release {row.release} is committed, and the floor is {floor}"
