"""What must be true of a board's disk whenever its power comes back: the invariants, checked."""

import sqlite3
from collections.abc import Iterator

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest
from aiosd.domain.rollout import State
from aiosd.store.catalogue import scan
from aiosd.store.digests import Digests
from aiosd.store.ledger import Ledger, LedgerError
from aiosd.store.packages import Installed, read_manifest
from tools.torture.board import AIR, BAD, GUEST, HAND, Board

# Who serves at any moment, whatever happens.
ALWAYS = (AIR, HAND)


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
    yield from _serving(board)
    yield from _ledger(board, sworn)
    active = str(board.releases.active(HAND))
    allowed = sworn.allowed(HAND)
    if allowed and active not in allowed:
        yield f"{HAND}: release {active} is there, and {' or '.join(allowed)} was installed"
    sworn.found(HAND, active)


def unmended(board: Board) -> Iterator[str]:
    """Yield what is not as it must be once the board has done what it does at its start."""
    yield from _serving(board)
    try:
        ledger = Ledger(board.layout.ledger)
    except LedgerError as error:
        yield str(error)
        return
    try:
        yield from _settled(board, ledger)
    finally:
        ledger.close()
    yield from _store(board)


def _serving(board: Board) -> Iterator[str]:
    """Yield who does not serve; what serves is hashed to the last byte."""
    found = scan(board.layout.experts)
    digests = Digests(None)
    for name in (*ALWAYS, GUEST):
        installed = found.experts.get(name)
        if installed is None:
            if name in ALWAYS:
                why = "; ".join(each.reason for each in found.refused)
                yield f"{name} does not serve: {why}"
            continue
        try:
            digests.verify(installed)
        except PackageError as error:
            yield f"{name}: {error.message}"
        if name == AIR and installed.manifest.release % BAD == 0:
            yield f"{name}: release {installed.manifest.release} serves, whose self-tests fail"


def _ledger(board: Board, sworn: Sworn) -> Iterator[str]:
    """Yield what the ledger lost, or made up."""
    try:
        database = sqlite3.connect(board.layout.ledger)
        verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        database.close()
        ledger = Ledger(board.layout.ledger)
    except (sqlite3.Error, LedgerError) as error:
        yield f"ledger: {error}"
        return
    if verdict != "ok":
        yield f"ledger: {verdict}"
    row = ledger.row(AIR)
    ledger.close()
    fact = f"{row.release} {row.state}" if row else "none"
    allowed = sworn.allowed(AIR)
    if allowed and fact not in allowed:
        yield f"ledger: {fact} is there, and {' or '.join(allowed)} was written"
    if row:
        sworn.found(AIR, fact)


def _settled(board: Board, ledger: Ledger) -> Iterator[str]:
    """Yield what is left undone."""
    row = ledger.row(AIR)
    if row is None:
        return
    active = board.releases.active(AIR)
    if not row.ended:
        yield f"{AIR}: release {row.release} is left {row.state}"
    if row.state is State.COLLECTED and active != row.release:
        yield f"{AIR}: release {row.release} is committed, and {active} serves"
    if row.state is State.QUARANTINED and active == row.release:
        yield f"{AIR}: release {row.release} is quarantined, and serves"
    if row.state is State.COLLECTED and ledger.floor(AIR) < row.release:
        yield f"{AIR}: release {row.release} is committed, and the floor is {ledger.floor(AIR)}"


def _store(board: Board) -> Iterator[str]:
    """Yield blobs and releases that are not whole, and what was left lying about."""
    for sha256, _ in board.releases.blobs.held():
        fault = board.releases.blobs.fault(sha256)
        if fault:
            yield f"blob {sha256}: {fault}"
    digests = Digests(None)
    for name in board.releases.names():
        for release in board.releases.installed(name):
            try:
                folder = board.releases.folder(name, release)
                manifest: Manifest = read_manifest(folder)
                digests.verify(Installed(manifest, folder))
            except PackageError as error:
                yield f"{name} {release}: {error.message}"
        for left in (board.releases.root / name).glob(".staging-*"):
            yield f"{left}: left behind"
