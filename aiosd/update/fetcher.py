"""Metadata for python-tuf, by way of our own connections and limits."""

from collections.abc import Iterator

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import Origin
from aiosd.policy.rollout.download_pace import DownloadPace, PaceRules
from aiosd.update.download import Clockwork

_NOT_FOUND = 404


class Reader:
    """Reads small files of an origin whole, at no less than the slowest pace that is allowed."""

    def __init__(self, origin: Origin, rules: PaceRules, clockwork: Clockwork) -> None:
        """Take the folder, and how slow it may be; a cap is not for such small files."""
        self._origin = origin
        self._rules = PaceRules(least=rules.least, window_seconds=rules.window_seconds)
        self._clockwork = clockwork

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's bytes.

        Raises:
            UpdateError: there is none, or it comes too slowly, or not as it should.
        """
        pace = DownloadPace(self._rules, self._clockwork.now())
        body = self._origin.open(path.lstrip("/"), limit)
        parts = []
        while piece := body.read():
            parts.append(piece)
            if pace.took(len(piece), self._clockwork.now()).too_slow:
                raise UpdateError(
                    Fault.TOO_SLOW, f"{path}: less than {self._rules.bar:.0f} bytes a second"
                )
        return b"".join(parts)


class Fetcher(FetcherInterface):
    """Fetches metadata of one folder; what tuf calls an address is a path in it."""

    def __init__(self, reader: Reader, file_limit: int, total_limit: int) -> None:
        """Take what reads, how many bytes a file may have, and how many may come in all.

        Both hold whatever length somebody has signed for.
        """
        self._reader = reader
        self._most = file_limit
        self._left = total_limit

    def _fetch(self, url: str) -> Iterator[bytes]:  # type: ignore[explicit-override]
        """Yield the pieces of a file."""
        yield self._reader.read(url, min(self._most, self._left))

    def download_bytes(self, url: str, max_length: int) -> bytes:  # type: ignore[explicit-override]
        """Return a file, at most `max_length` bytes; nothing is written to the disk.

        Raises:
            DownloadError: it does not come as it should, as tuf has the words for it; the
                `UpdateError` is its cause.
        """
        try:
            data = self._reader.read(url, min(max_length, self._most, self._left))
        except UpdateError as error:
            if error.fault is Fault.NOT_FOUND:
                raise DownloadHTTPError(str(error), _NOT_FOUND) from error
            if error.fault is Fault.TOO_LONG:
                raise DownloadLengthMismatchError(str(error)) from error
            raise DownloadError(str(error)) from error
        self._left -= len(data)
        return data
