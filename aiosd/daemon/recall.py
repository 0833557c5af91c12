"""What was measured, kept over restarts: asked at each scan, and written rarely."""

import asyncio
import hashlib
from collections.abc import Mapping

import msgspec

from aiosd.domain.footprint import Circumstances, Footprint
from aiosd.domain.manifest import Manifest
from aiosd.policy.serving.remembering import footprint_of, worth_writing
from aiosd.policy.serving.slots import Slot
from aiosd.store.footprints import Footprints

# News is written so long after it came, all of it at once: at most a dozen writes in an hour in
# which releases change, none in one where nothing does, and one on a clean stop.
WRITE_SECONDS = 300.0


class Recall:
    """Between the scheduler's slots and the book of footprints.

    No timer runs unless there is news worth writing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, book: Footprints, board: str) -> None:
        """Know no expert yet; `board` names all that a footprint depends on beside its package."""
        self._loop = loop
        self._book = book
        self._board = board
        self._under: dict[str, Circumstances] = {}
        self._engines: dict[str, str] = {}
        self._slots: Mapping[str, Slot] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._dirty = False

    def watch(self, slots: Mapping[str, Slot]) -> None:
        """Take what is to be remembered from these."""
        self._slots = slots

    def find(self, manifest: Manifest) -> Footprint | None:
        """Return what was measured of this release on this board, if anything was."""
        if manifest.name in self._under:
            self._note(manifest.name)  # of the release that may be replaced now, before it is
        under = circumstances(manifest, self._board)
        if self._under.get(manifest.name) != under:
            self._under[manifest.name] = under
            self._engines.pop(manifest.name, None)
        return self._book.find(under)

    def on_engine(self, expert: str, engine: str) -> bool:
        """Take note of the engine that runs an expert; False if it was measured with another."""
        self._engines[expert] = engine
        under = self._under.get(expert)
        kept = self._book.find(under) if under else None
        return kept is None or kept.engine == engine

    def on_news(self, expert: str) -> None:
        """Take note that an expert was measured; called after answers, never before one."""
        if self._timer is None and self._news(expert) is not None:
            self._timer = self._loop.call_later(WRITE_SECONDS, self._write)

    def close(self) -> None:
        """Write what is new and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def _news(self, expert: str) -> tuple[Circumstances, Footprint] | None:
        """Return what is worth writing of an expert."""
        slot, engine = self._slots.get(expert), self._engines.get(expert)
        under = self._under.get(expert)
        if slot is None or engine is None or under is None:
            return None
        found = footprint_of(slot, engine)
        if found is None or not worth_writing(self._book.find(under), found):
            return None
        return under, found

    def _note(self, expert: str) -> None:
        """Put an expert's news into the book, if there is any."""
        news = self._news(expert)
        if news is not None:
            self._book.keep(*news)
            self._dirty = True

    def _write(self) -> None:
        """Write the book if it is not what was written last."""
        self._timer = None
        for name in self._engines:
            self._note(name)
        if self._dirty:
            self._dirty = False
            self._book.write()


def circumstances(manifest: Manifest, board: str) -> Circumstances:
    """Return what a footprint of this release depends on."""
    package = hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()
    return Circumstances(package=package, context=manifest.engine.context, board=board)
