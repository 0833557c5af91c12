"""The updater's own downloader, with a server that is a table in memory."""

import hashlib
import io
from collections.abc import Mapping

from aiosd.domain.release import HASH_BYTES, ChunkIndex
from aiosd.net.blob import Body, Part
from aiosd.policy.rollout.delta import plan
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.store.blobs import Blobs
from aiosd.store.ledger import Ledger
from aiosd.update.download import Clockwork, Download, Wanted, addressed
from aiosd.update.patchwork import filling

CHUNK_BYTES = 1024


class _Table:
    """Files by their address: an origin."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def open(self, path: str, limit: int, part: Part | None = None, etag: str = "") -> Body:
        """Return (part of) a file."""
        del limit, etag
        data = self._files[path]
        first, end = (part.first, part.end) if part else (0, len(data))
        return Body(first, end - first, io.BytesIO(data[first:end]).read, length=None, etag="")

    def close(self) -> None:
        """There is nothing to let go of."""


def bring(blobs: Blobs, ledger: Ledger, data: bytes, old: bytes | None) -> None:
    """Fetch a blob; by its difference to `old`, if that is given.

    Raises:
        UpdateError: it does not come, or the disk says no.
    """
    digest = hashlib.sha256(data).hexdigest()
    wanted = Wanted(digest, len(data), addressed(digest))
    clockwork = Clockwork(lambda: 0.0, lambda _: None)
    origin = _Table({wanted.address: data})
    download = Download(origin, blobs, ledger, PaceRules(), clockwork, lambda _: None)
    if old is None:
        download.fetch(wanted)
        return
    index = _index(data)
    delta = plan({hashlib.sha256(old).hexdigest(): _index(old)}, index)
    download.fill(wanted, filling(blobs, delta, index))


def _index(data: bytes) -> ChunkIndex:
    hashes = (
        hashlib.sha256(data[at : at + CHUNK_BYTES]).digest()[:HASH_BYTES]
        for at in range(0, len(data), CHUNK_BYTES)
    )
    return ChunkIndex(size=CHUNK_BYTES, spans=(len(data),), hashes=b"".join(hashes))
