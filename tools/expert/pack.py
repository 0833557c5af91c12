"""A package in source becomes what is published: `manifest.json` and blobs, nothing to unpack."""

import base64
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest
from aiosd.domain.release import HASH_BYTES, MAX_CHUNKS, MAX_SPANS, ChunkIndex
from aiosd.models.chunks import index_file
from aiosd.protocol.release_json import MAX_BYTES, NAME, decode_release, encode_release
from aiosd.store.blobs import Blobs
from aiosd.store.durable import make_folders, replace_file
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import read_manifest
from tools.expert.faults import PublisherError
from tools.expert.lint import check

# A file this small is fetched whole: its index would be as large as what it could save.
LEAST_INDEXED = 16_384
COARSEST = 4**10


@dataclass(frozen=True)
class Terms:
    """What is said of a release beside its package; `like` is the packed release before it."""

    security_floor: int = 0
    percent: int = 100
    arch: tuple[str, ...] = ()
    aiosd: str = ""
    power_watts: float = 0.0
    like: Path | None = None


def pack(folder: Path, out: Path, terms: Terms, now: float) -> dict[str, object]:
    """Write the packed release into `out`; return the facts of it. `now` is when it was made.

    Raises:
        PublisherError: the package has errors, or does not fit the format.
        PackageError: a file cannot be read.
    """
    errors = [str(each) for each in check(folder) if each.level == "error"]
    if errors:
        raise PublisherError("\n".join([*errors, "nothing was packed"]))
    manifest = read_manifest(folder)
    data = _manifest_json(folder, manifest, terms, now)
    make_folders(out)
    blobs = Blobs(out / "blobs")
    for file in manifest.files:
        blobs.put(folder / file.path, file.sha256, file.size)
    replace_file(out / NAME, data)
    return {
        "name": manifest.name,
        "release": manifest.release,
        "manifest_bytes": len(data),
        "files": len(manifest.files),
        "size_bytes": sum(file.size for file in manifest.files),
    }


def package_table(folder: Path) -> dict[str, object]:
    """Return what `expert.toml` says, without its files."""
    tree = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    tree.pop("files", None)
    return tree


def _manifest_json(folder: Path, manifest: Manifest, terms: Terms, now: float) -> bytes:
    """Return the manifest, with indexes as fine as its limit lets them be.

    Raises:
        PublisherError: it does not fit even with the coarsest.
    """
    before = _chunk_sizes(terms.like) if terms.like else {}
    coarser = 1
    while True:
        indexes = {
            file.path: index_file(
                folder / file.path, chunk=before.get(file.path, 0), coarser=coarser
            )[1]
            for file in manifest.files
            if file.size >= LEAST_INDEXED
        }
        counts = [(len(index.spans), len(index.hashes)) for index in indexes.values()]
        fits = all(spans <= MAX_SPANS and size <= MAX_CHUNKS * HASH_BYTES for spans, size in counts)
        try:
            if fits:
                tree = _tree(folder, manifest, terms, now, indexes)
                return encode_release(tree, path=f"{folder.name}/{NAME}")
        except PackageError as error:
            if f"limit of {MAX_BYTES}" not in error.message or coarser >= COARSEST:
                raise PublisherError(error.message) from error
        coarser *= 4


def _chunk_sizes(packed: Path) -> dict[str, int]:
    """Return the size of the chunks of each file of a packed release.

    Raises:
        PackageError: it is none.
    """
    path = packed / NAME
    release = decode_release(path.read_bytes(), path=str(path))
    return {file.path: file.chunks.size for file in release.files if file.chunks is not None}


def _tree(
    folder: Path,
    manifest: Manifest,
    terms: Terms,
    now: float,
    indexes: dict[str, ChunkIndex],
) -> dict[str, object]:
    """Return the tree of the manifest; what is empty is left out."""
    files: list[dict[str, object]] = []
    for file in manifest.files:
        entry: dict[str, object] = {
            "path": file.path,
            "size": file.size,
            "sha256": file.sha256,
            "role": file.role,
        }
        index = indexes.get(file.path)
        if index is not None:
            entry["chunks"] = {
                "size": index.size,
                "spans": list(index.spans),
                "hashes": base64.b64encode(index.hashes).decode(),
            }
        files.append(entry)
    requires: dict[str, object] = {
        "arch": list(terms.arch),
        "aiosd": terms.aiosd,
        "ram_peak_bytes": manifest.needs.ram_bytes,
        "power_watts": terms.power_watts,
    }
    return {
        "format": 1,
        "name": manifest.name,
        "release": manifest.release,
        "security_floor": terms.security_floor,
        "created": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "licence": manifest.licence,
        "package": package_table(folder),
        "files": files,
        "requires": {key: value for key, value in requires.items() if value},
        "rollout": {"percent": terms.percent},
    }
