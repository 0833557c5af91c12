"""Metadata for python-tuf, by way of our own connections and limits."""

from collections.abc import Iterator

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import Origin

_NOT_FOUND = 404


class Fetcher(FetcherInterface):
    """Fetches files of one folder; what tuf calls an address is a path in it."""

    def __init__(self, origin: Origin, total_limit: int) -> None:
        """Take the folder, and how many bytes may come in all, over all files."""
        self._origin = origin
        self._left = total_limit

    def _fetch(self, url: str) -> Iterator[bytes]:  # type: ignore[explicit-override]
        """Yield the pieces of a file."""
        body = self._origin.open(url.lstrip("/"), self._left)
        while piece := body.read():
            yield piece

    def download_bytes(self, url: str, max_length: int) -> bytes:  # type: ignore[explicit-override]
        """Return a file, at most `max_length` bytes; nothing is written to the disk.

        Raises:
            DownloadError: it does not come as it should, as tuf has the words for it; the
                `UpdateError` is its cause.
        """
        try:
            body = self._origin.open(url.lstrip("/"), min(max_length, self._left))
            parts = []
            while piece := body.read():
                parts.append(piece)
                self._left -= len(piece)
        except UpdateError as error:
            if error.fault is Fault.NOT_FOUND:
                raise DownloadHTTPError(str(error), _NOT_FOUND) from error
            if error.fault is Fault.TOO_LONG:
                raise DownloadLengthMismatchError(str(error)) from error
            raise DownloadError(str(error)) from error
        return b"".join(parts)
