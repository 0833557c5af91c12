"""The occasions on which a board's disk is written, so that every failpoint is reached by one."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.update import UpdateError
from aiosd.models.chunks import index_file
from aiosd.net.blob import origin_of
from aiosd.policy.rollout.delta import plan
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.protocol.release_json import encode_release
from aiosd.store.assembly import Copied, copy_chunks
from aiosd.store.install import remove
from aiosd.store.ledger import Ledger, LedgerError
from aiosd.update.download import SYNC_BYTES, Clockwork, Download, Wanted, addressed
from tools.torture.board import (
    AIR,
    BAD,
    GUEST,
    Board,
    data_of,
    files_of,
    published,
    with_ledger,
)

# What is fetched from a stick that holds all of it, the half of it, or something else.
WHOLE, HALF, WRONG = "whole", "half", "wrong"


@dataclass(frozen=True)
class Scene:
    """What is there before, what is done, and whether that works on a board in good order.

    What is done `once` cannot be done again once it is.
    """

    name: str
    before: Callable[[Board], None]
    act: Callable[[Board], None]
    works: bool = True
    once: bool = False

    def play(self, board: Board) -> bool:
        """Do it; False if the board said no."""
        try:
            self.act(board)
        except (OSError, PackageError, LedgerError, UpdateError):
            return False
        return True


def scenes() -> list[Scene]:
    """Return all of them; the first that reaches a point is the one it is tried in."""
    return [
        Scene("a new ledger", _without_ledger, _open_ledger),
        Scene("a first update", _nothing, Board.update),
        Scene("another update", _updated(1), Board.update),
        Scene("a bad update", _updated(BAD - 2), Board.update),
        Scene("a rollback", _updated(1), Board.rollback),
        Scene("a collection", _littered, Board.collect),
        Scene("an install over another", _nothing, Board.install_next),
        Scene("an install", _nothing, lambda board: board.install(GUEST, 1)),
        Scene("a removal", _guest, lambda board: remove(GUEST, board.layout.experts[0]), once=True),
        Scene("a hold", _nothing, Board.hold),
        Scene("new terms", _updated(1), _new_terms),
        Scene("a withdrawal", _published_guest, lambda board: board.releases.deactivate(GUEST)),
        Scene("a copied blob", _nothing, _put_blob),
        Scene("a fetch", _nothing, _fetch(WHOLE)),
        Scene("a long fetch", _nothing, _fetch_long),
        Scene("a release that is mended", _strange, lambda board: _stage(board, GUEST, 1)),
        Scene("a fetch that breaks off", _nothing, _fetch(HALF), works=False),
        Scene("a fetch of something else", _nothing, _fetch(WRONG), works=False),
        Scene("a delta", _updated(1), _delta),
    ]


def _nothing(board: Board) -> None:
    """Leave the board as it is when it is new."""


def _updated(times: int) -> Callable[[Board], None]:
    def before(board: Board) -> None:
        for _ in range(times):
            board.update()

    return before


def _without_ledger(board: Board) -> None:
    for path in board.layout.state.glob("releases.db*"):
        path.unlink()


def _open_ledger(board: Board) -> None:
    Ledger(board.layout.ledger).close()


def _guest(board: Board) -> None:
    board.install(GUEST, 1)


def _stage(board: Board, name: str, release: int) -> None:
    """Stage a release by hand."""
    blobs = board.releases.blobs
    for data in files_of(name, release).values():
        digest = hashlib.sha256(data).hexdigest()
        if not blobs.has(digest, len(data)):
            blobs.part(digest).write_bytes(data)
            blobs.adopt(digest, len(data))
    board.releases.stage(published(name, release))


def _published_guest(board: Board) -> None:
    _stage(board, GUEST, 1)
    board.releases.activate(GUEST, 1)


def _littered(board: Board) -> None:
    """Leave an old release, a blob that nobody refers to, and the part of one."""
    _updated(2)(board)
    _stage(board, AIR, 1)
    blobs = board.releases.blobs
    data = data_of("litter", 1)
    digest = hashlib.sha256(data).hexdigest()
    blobs.part(digest).write_bytes(data)
    blobs.adopt(digest, len(data))
    part = blobs.part(hashlib.sha256(b"half").hexdigest())
    part.write_bytes(b"half of")
    os.utime(part, (0, 0))


def _new_terms(board: Board) -> None:
    """Stage what is there again, for half of all boards."""
    release = board.releases.active(AIR) or 1
    tree = msgspec.json.decode(published(AIR, release))
    with board.releases.busy():
        board.releases.stage(encode_release({**tree, "rollout": {"percent": 50}}))


def _put_blob(board: Board) -> None:
    """Take a file into the store, as installing a packed release does."""
    source = board.root / "source" / "put"
    data = data_of("put", 1)
    source.write_bytes(data)
    board.releases.blobs.put(source, hashlib.sha256(data).hexdigest(), len(data))


def _download(board: Board, ledger: Ledger) -> Download:
    """Return the updater's downloader, which fetches from a stick."""
    origin = origin_of((board.root / "stick").as_uri(), stall_seconds=1.0)
    clockwork = Clockwork(lambda: 0.0, lambda _: None)
    return Download(origin, board.releases.blobs, ledger, PaceRules(), clockwork, lambda _: None)


def _on_stick(board: Board, data: bytes, held: bytes) -> Wanted:
    """Put `held` where the stick should have `data`."""
    digest = hashlib.sha256(data).hexdigest()
    place = board.root / "stick" / addressed(digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(held)
    return Wanted(digest, len(data), addressed(digest))


def _fetch(what: str) -> Callable[[Board], None]:
    def act(board: Board) -> None:
        data = data_of("stick", 1)
        held = {WHOLE: data, HALF: data[: len(data) // 2], WRONG: bytes(len(data))}[what]
        wanted = _on_stick(board, data, held)
        with_ledger(board.layout, lambda ledger: _download(board, ledger).fetch(wanted))

    return act


def _fetch_long(board: Board) -> None:
    """Fetch more than is ever left unsynced."""
    data = bytes(SYNC_BYTES + 4096)
    wanted = _on_stick(board, data, data)
    with_ledger(board.layout, lambda ledger: _download(board, ledger).fetch(wanted))


def _strange(board: Board) -> None:
    """Leave a release with a file that is not the blob, though it holds the same."""
    _stage(board, GUEST, 1)
    path = board.releases.folder(GUEST, 1) / "labels.txt"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def _delta(board: Board) -> None:
    """Fetch a blob of which another one here holds nearly all."""
    old = data_of("delta", 1) * 4
    new = old[:-2048] + bytes(2048)
    blobs = board.releases.blobs
    digest = hashlib.sha256(old).hexdigest()
    if not blobs.has(digest, len(old)):
        blobs.part(digest).write_bytes(old)
        blobs.adopt(digest, len(old))
    _, old_index = index_file(blobs.path(digest), chunk=1024)
    wanted = _on_stick(board, new, new)
    _, index = index_file(board.root / "stick" / wanted.address, chunk=1024)
    found = plan({digest: old_index}, index)

    def fill(handle: int) -> Copied:
        copied = copy_chunks(blobs, found.copies, index, handle)
        copied.missing = [*found.ranges, *copied.missing]
        return copied

    with_ledger(board.layout, lambda ledger: _download(board, ledger).fill(wanted, fill))
