"""One release of an expert as it is published: the content of the signed `manifest.json`, strict.

Everything has a limit, and nothing is said twice: the files stand here and not in `package`, which
is otherwise what `expert.toml` says. `docs/package-format.md` describes it for other programs.
"""

import unicodedata
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from aiosd.domain.manifest import FileName, Manifest, Name, PackageFile, Sha256

MAX_FILES = 256
MAX_FILE_BYTES = 2**40
# What one release may bring onto a board, all files together.
MAX_RELEASE_BYTES = 2**40
MAX_SPANS = 8192
MAX_CHUNKS = 16_384
# A chunk is known by the first half of its sha256: it finds bytes, and never vouches for a file.
HASH_BYTES = 16
_BUILT = frozenset({"expert.toml", "manifest.json"})

Count = Annotated[int, Meta(ge=1, le=2**31)]
Size = Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: frozen, and an unknown key is an error."""


class ChunkIndex(_Table, frozen=True, kw_only=True):
    """Where the chunks of a file begin, and what each holds.

    The `spans` tile the file. Each is cut into chunks of `size` bytes from its own beginning, the
    last one being what is left, so that bytes which moved as a whole still make the same chunks.
    `hashes` holds the first 16 bytes of each chunk's sha256, one after the other.
    """

    size: Annotated[int, Meta(ge=1024, le=2**22)]
    spans: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)], ...], Meta(max_length=MAX_SPANS)
    ]
    hashes: Annotated[bytes, Meta(max_length=MAX_CHUNKS * HASH_BYTES)]

    def __post_init__(self) -> None:
        """Check that there is a hash for each chunk.

        Raises:
            ValueError: there is not.
        """
        count = sum(-(-span // self.size) for span in self.spans)
        if count * HASH_BYTES != len(self.hashes):
            given = len(self.hashes) / HASH_BYTES
            raise ValueError(f"the spans make {count} chunks, but there are {given:g} hashes")

    def chunks(self) -> list[tuple[int, int, bytes]]:
        """Return where each chunk begins, its length and its hash, in order."""
        found = []
        start = at = 0
        for span in self.spans:
            end = start + span
            while start < end:
                length = min(self.size, end - start)
                found.append((start, length, self.hashes[at : at + HASH_BYTES]))
                start += length
                at += HASH_BYTES
        return found


class ReleaseFile(_Table, frozen=True, kw_only=True):
    """One file of the release: the blob that holds it, and how it is cut for deltas."""

    path: FileName
    size: Size
    sha256: Sha256
    role: str = ""
    chunks: ChunkIndex | None = None

    def __post_init__(self) -> None:
        """Check that the chunks are of this file, and that its name has one spelling.

        Raises:
            ValueError: they are not, or it has several.
        """
        if self.chunks is not None and sum(self.chunks.spans) != self.size:
            raise ValueError(f"{self.path}: its chunks are of a file of another size")
        if unicodedata.normalize("NFC", self.path) != self.path or self.path in _BUILT:
            raise ValueError(f"{self.path!r} is no name for a file of a release")


class Requires(_Table, frozen=True, kw_only=True):
    """What a board must have; an empty list or text asks for nothing, and so does a zero.

    `arch` is as `uname -m` says it, `page_bytes` the kernel's page sizes it was tested with,
    `aiosd` a range of versions such as ">=0.1". `ram_peak_bytes` and `power_watts` were measured
    by the publisher while the self-tests ran.
    """

    arch: Annotated[list[str], Meta(max_length=16)] = msgspec.field(default_factory=list)
    page_bytes: Annotated[list[int], Meta(max_length=8)] = msgspec.field(default_factory=list)
    aiosd: Annotated[str, Meta(max_length=64)] = ""
    ram_peak_bytes: Annotated[int, Meta(ge=0, le=2**48)] = 0
    power_watts: Annotated[float, Meta(ge=0, le=10_000)] = 0.0


class Rollout(_Table, frozen=True, kw_only=True):
    """Which share of all boards may take the release, by a hash of the board and the release."""

    percent: Annotated[int, Meta(ge=0, le=100)] = 100


class Release(_Table, frozen=True, kw_only=True):
    """The whole of `manifest.json`.

    A board that has this release never again takes one below `security_floor`.
    """

    format: Annotated[int, Meta(ge=1, le=1)]
    name: Name
    release: Count
    security_floor: Annotated[int, Meta(ge=0, le=2**31)] = 0
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    licence: Annotated[str, Meta(min_length=1, max_length=200)]
    package: Manifest
    files: Annotated[list[ReleaseFile], Meta(max_length=MAX_FILES)]
    requires: Requires = Requires()
    rollout: Rollout = Rollout()

    def __post_init__(self) -> None:
        """Check what the types alone cannot.

        Raises:
            ValueError: it contradicts itself.
        """
        datetime.fromisoformat(self.created)
        package = self.package
        if (package.name, package.release, package.licence) != (
            self.name,
            self.release,
            self.licence,
        ):
            raise ValueError("name, release or licence differ from those in the package's table")
        if package.files:
            raise ValueError("package.files: the files stand in `files` alone")
        if self.security_floor > self.release:
            raise ValueError("security_floor: over the release itself, which nobody could take")
        if self.size_bytes > MAX_RELEASE_BYTES:
            raise ValueError(f"files: {self.size_bytes} bytes are over {MAX_RELEASE_BYTES}")
        if fault := self.manifest.parts_fault:
            raise ValueError(f"files: {fault}")
        if len({file.path for file in self.files}) < len(self.files):
            raise ValueError("files: a path is listed twice")
        sizes: dict[str, int] = {}
        for file in self.files:
            if sizes.setdefault(file.sha256, file.size) != file.size:
                raise ValueError(f"files: two sizes for the blob {file.sha256}")

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size for file in self.files)

    @property
    def blobs(self) -> dict[str, int]:
        """The size of each different blob, by its sha256."""
        return {file.sha256: file.size for file in self.files}

    @property
    def manifest(self) -> Manifest:
        """What the package declares, as it stands in `expert.toml` on a board."""
        files = [
            PackageFile(path=file.path, size=file.size, sha256=file.sha256, role=file.role)
            for file in self.files
        ]
        return msgspec.structs.replace(self.package, files=files)
