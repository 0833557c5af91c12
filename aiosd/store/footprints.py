"""What was measured of every release, kept over restarts in one file of the state folder."""

import logging
from pathlib import Path

import msgspec

from aiosd.domain.footprint import Circumstances, Footprint
from aiosd.store.durable import replace_file

log = logging.getLogger(__name__)

VERSION = 1
# Releases come and go for years; those written longest ago are forgotten first.
MAX_KEPT = 256
MAX_FILE_BYTES = 1_048_576


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release."""

    under: Circumstances
    found: Footprint


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    version: int
    footprints: list[_Line]


class Footprints:
    """Footprints by what they were measured under; the last written comes last.

    A missing book is an empty one; so is one that is damaged, too large or of another version,
    with a warning. A book that cannot be written costs the memory, and one warning says so.
    """

    def __init__(self, book: Path) -> None:
        """Read the book, if there is one."""
        self._book = book
        self._warned = False
        self._kept = _read(book)

    def find(self, under: Circumstances) -> Footprint | None:
        """Return what was measured under these circumstances, if anything was."""
        return self._kept.get(under)

    def keep(self, under: Circumstances, found: Footprint) -> None:
        """Replace what is kept; nothing is written yet."""
        self._kept.pop(under, None)
        self._kept[under] = found
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def write(self) -> None:
        """Write the book, without waiting for the disk: it is written between requests.

        What a power cut tears is ignored by the next reader, and measured again.
        """
        lines = [_Line(under=under, found=found) for under, found in self._kept.items()]
        data = msgspec.json.encode(_Book(version=VERSION, footprints=lines))
        try:
            replace_file(self._book, data, durable=False)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s: %s; what is measured will be measured again after each start",
                    self._book,
                    error.strerror,
                )


def _read(book: Path) -> dict[Circumstances, Footprint]:
    """Return what is in the book."""
    try:
        with book.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            log.warning("%s: larger than %d bytes; it is ignored", book, MAX_FILE_BYTES)
            return {}
        found = msgspec.json.decode(data, type=_Book)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; it is ignored, and everything is measured again", book, error)
        return {}
    if found.version != VERSION:
        log.warning("%s: version %d is not %d; it is ignored", book, found.version, VERSION)
        return {}
    return {line.under: line.found for line in found.footprints[-MAX_KEPT:]}
