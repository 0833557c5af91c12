"""Files by their content: `blobs/sha256/ab/<sha256>`, each written once and never changed.

A file comes in as a `.part` beside its place, whose writer hashes what it writes; `adopt` makes it
durable and gives it its name. A blob that is there is whole: a power cut leaves a `.part`.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.store.durable import make_folders, sync_folder
from aiosd.store.failpoint import reach

PART = ".part"
CHUNK_BYTES = 1_048_576
# Nobody writes to a blob, whose bytes several releases may share.
MODE = 0o444

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs of one folder, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        """Take the folder; nothing is made before a part is asked for."""
        self.root = root

    def path(self, sha256: str) -> Path:
        """Return where the blob of that digest is, or would be.

        Raises:
            PackageError: that is no sha256 in hexadecimal.
        """
        if not _NAME.fullmatch(sha256):
            raise PackageError(f"{sha256[:80]!r} is no sha256")
        return self.root / "sha256" / sha256[:2] / sha256

    def has(self, sha256: str, size: int) -> bool:
        """Tell whether the blob is here, as a regular file of that size."""
        with contextlib.suppress(OSError):
            status = self.path(sha256).lstat()
            return stat.S_ISREG(status.st_mode) and status.st_size == size
        return False

    def part(self, sha256: str) -> Path:
        """Return the file that becomes the blob; the folder it lies in is made, and durable.

        Raises:
            OSError: the folder cannot be made.
        """
        place = self.path(sha256)
        make_folders(place.parent)
        return place.with_name(place.name + PART)

    def adopt(self, sha256: str, size: int) -> Path:
        """Make the part the blob: durable when this returns. Its writer has checked its digest.

        Raises:
            PackageError: the part is missing or has another size.
            OSError: the disk reports an error; where it may have lost bytes the part is deleted,
                because the kernel tells of that once.
        """
        place = self.path(sha256)
        part = self.part(sha256)
        if self.has(sha256, size):
            part.unlink(missing_ok=True)
            sync_folder(place.parent)
            return place
        try:
            handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise PackageError(f"{part}: nothing was fetched for it", path=str(part)) from None
        try:
            found = os.fstat(handle).st_size
            if found != size:
                raise PackageError(
                    f"{part}: {found} bytes were fetched and not {size}", path=str(part)
                )
            os.fchmod(handle, MODE)
            _sync(handle, part)
        finally:
            os.close(handle)
        reach("blob.rename")
        part.rename(place)
        reach("blob.renamed")
        sync_folder(place.parent)
        reach("blob.durable")
        return place

    def put(self, source: Path, sha256: str, size: int) -> Path:
        """Copy a file in, hashed on its way; nothing is done where the blob is here already.

        Raises:
            PackageError: `source` cannot be read, or is not of that size and digest.
            OSError: the blob cannot be written.
        """
        if self.has(sha256, size):
            return self.path(sha256)
        part = self.part(sha256)
        try:
            reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PackageError(f"{source}: {error.strerror}", path=str(source)) from error
        try:
            actual, found = _copy(reader, part, size)
        finally:
            os.close(reader)
        if (actual, found) != (sha256, size):
            part.unlink(missing_ok=True)
            raise PackageError(
                f"{source}: over {found - 1} bytes, and {size} were declared"
                if found > size
                else f"{source}: {found} bytes with sha256 {actual}, but the manifest says {size} "
                f"bytes with {sha256}",
                path=str(source),
            )
        return self.adopt(sha256, size)

    def fault(self, sha256: str, size: int | None = None) -> str:
        """Read the whole blob and return what is wrong with it; an empty text if nothing is."""
        place = self.path(sha256)
        try:
            with place.open("rb", buffering=0) as file:
                found = os.fstat(file.fileno()).st_size
                if size is not None and found != size:
                    return f"{place}: {found} bytes and not {size}"
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"{place}: {error.strerror}"
        return "" if actual == sha256 else f"{place}: damaged, its bytes have the sha256 {actual}"

    def delete(self, sha256: str) -> None:
        """Delete a blob, if it is there; releases that hold a link keep theirs.

        Raises:
            OSError: the folder cannot be written.
        """
        reach("blob.delete")
        self.path(sha256).unlink(missing_ok=True)

    def held(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the digest and the status of each blob here, in order."""
        for path in self._files():
            if _NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    yield path.name, path.lstat()

    def parts(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield each part here and its status, in order."""
        for path in self._files():
            if path.name.endswith(PART):
                with contextlib.suppress(OSError):
                    yield path, path.lstat()

    def _files(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for folder in sorted((self.root / "sha256").iterdir()):
                with contextlib.suppress(OSError):
                    yield from sorted(folder.iterdir())


def _sync(handle: int, part: Path) -> None:
    """Bring a part's bytes to the disk.

    Raises:
        OSError: they may be lost; the part is deleted, since a second fsync would not say so again.
    """
    try:
        reach("blob.sync")
        os.fsync(handle)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _copy(reader: int, part: Path, size: int) -> tuple[str, int]:
    """Copy up to a byte more than `size`; return the digest and how many bytes there were.

    Raises:
        OSError: the part cannot be written; what was written of it is deleted.
    """
    digest = hashlib.sha256()
    found = 0
    part.unlink(missing_ok=True)
    try:
        with part.open("xb", buffering=0) as writer:
            while found <= size and (chunk := os.read(reader, CHUNK_BYTES)):
                found += len(chunk)
                digest.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    reach("blob.write")
                    rest = rest[writer.write(rest) :]
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return digest.hexdigest(), found
