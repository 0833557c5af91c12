"""What a day has spent of the network, kept durably; a cut costs at most some megabytes of it."""

from pathlib import Path

import msgspec

from aiosd.store.durable import replace_file
from aiosd.update.windows import Spent

# Written ahead by so much, so that who pulls the plug again and again gains nothing.
AHEAD_BYTES = 8 * 1_048_576


class Purse:
    """The spending of one day, in a file."""

    def __init__(self, path: Path, day: str, *, metered: bool, kept: bool = True) -> None:
        """Read what the day has spent; a damaged file is an empty one.

        Unless it is `kept` nothing is written: there is no budget that anybody could overdraw.
        """
        self._path = path
        self._metered = metered
        self._kept = kept
        self._ahead = 0
        self.spent = _read(path).on(day)

    def came(self, count: int) -> None:
        """Count bytes from the network.

        Raises:
            OSError: it cannot be written down.
        """
        self.spent = self.spent.plus(count, metered=self._metered)
        if self._kept and self.spent.fetched > self._ahead:
            self._write(AHEAD_BYTES)

    def close(self) -> None:
        """Write down what was really spent.

        Raises:
            OSError: the disk says no.
        """
        if self._ahead:
            self._write(0)

    def _write(self, ahead: int) -> None:
        self._ahead = self.spent.fetched + ahead
        kept = self.spent.plus(ahead, metered=self._metered)
        replace_file(self._path, msgspec.json.encode(kept))


def _read(path: Path) -> Spent:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Spent)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Spent()
