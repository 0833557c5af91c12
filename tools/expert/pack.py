"""A package in source becomes what is published: `manifest.json` and blobs, nothing to unpack."""

import base64
import hashlib
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import PARTED_ENGINES, Manifest, PackageFile
from aiosd.domain.model_parts import PART
from aiosd.domain.release import HASH_BYTES, MAX_CHUNKS, MAX_SPANS, ChunkIndex, ReleaseFile
from aiosd.models.check import check_files
from aiosd.models.chunks import chunk_bytes, index_file
from aiosd.protocol.release_json import MAX_BYTES, NAME, decode_release, encode_release
from aiosd.store.blobs import Blobs
from aiosd.store.durable import make_folders, replace_file
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import read_manifest
from tools.expert.faults import PublisherError
from tools.expert.lint import check
from tools.expert.parts import LEAST_MODEL, cut, may_be_cut

# A file this small is fetched whole: its index would be as large as what it could save.
LEAST_INDEXED = 16_384
COARSEST = 4**10


@dataclass(frozen=True)
class Terms:
    """What is said of a release beside its package; `like` is the packed release before it.

    `parts` says whether a GGUF model is cut: one of `LEAST_MODEL` bytes and more, any, or none.
    """

    security_floor: int = 0
    percent: int = 100
    arch: tuple[str, ...] = ()
    aiosd: str = ""
    power_watts: float = 0.0
    like: Path | None = None
    parts: Literal["auto", "always", "never"] = "auto"


def pack(folder: Path, out: Path, terms: Terms, now: float) -> dict[str, object]:
    """Write the packed release into `out`; return the facts of it. `now` is when it was made.

    Raises:
        PublisherError: the package has errors, or does not fit the format.
        PackageError: a file cannot be read.
    """
    errors = [str(each) for each in check(folder) if each.level == "error"]
    if errors:
        raise PublisherError("\n".join([*errors, "nothing was packed"]))
    make_folders(out)
    with tempfile.TemporaryDirectory(prefix=".parts-", dir=out) as scratch:
        manifest, places = _in_parts(folder, read_manifest(folder), terms, Path(scratch))
        data = _manifest_json(folder, manifest, places, terms, now)
        blobs = Blobs(out / "blobs")
        for file in manifest.files:
            blobs.put(places[file.path], file.sha256, file.size)
    replace_file(out / NAME, data)
    return {
        "name": manifest.name,
        "release": manifest.release,
        "manifest_bytes": len(data),
        "files": len(manifest.files),
        "size_bytes": sum(file.size for file in manifest.files),
    }


Places = Mapping[str, Path]


def _in_parts(
    folder: Path, manifest: Manifest, terms: Terms, scratch: Path
) -> tuple[Manifest, Places]:
    """Return what is published, and where each of its files lies: the model perhaps in parts.

    Raises:
        PackageError: the model is damaged.
    """
    places = {file.path: folder / file.path for file in manifest.files}
    model = manifest.model
    least = {"auto": LEAST_MODEL, "always": 0, "never": None}[terms.parts]
    if (
        model is None
        or least is None
        or model.size < least
        or manifest.engine.name not in PARTED_ENGINES
        or len(manifest.model_files) > 1
        or not may_be_cut(places[model.path])
    ):
        return manifest, places
    parts = cut(places.pop(model.path), scratch)
    places |= {part.name: part for part in parts}
    files = [
        each
        for file in manifest.files
        for each in ([file] if file is not model else _declared(parts))
    ]
    published = msgspec.structs.replace(manifest, files=files)
    check_files(published, lambda file: places[file.path])
    return published, places


def _declared(parts: Sequence[Path]) -> list[PackageFile]:
    """Return the entries of the parts of a model."""
    found = []
    for number, part in enumerate(parts):
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        role = PART if number else "model"
        size = part.stat().st_size
        found.append(PackageFile(path=part.name, size=size, sha256=digest, role=role))
    return found


def package_table(folder: Path) -> dict[str, object]:
    """Return what `expert.toml` says, without its files."""
    tree = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    tree.pop("files", None)
    return tree


def _manifest_json(
    folder: Path, manifest: Manifest, places: Places, terms: Terms, now: float
) -> bytes:
    """Return the manifest, with indexes as fine as its limit lets them be.

    Raises:
        PublisherError: it does not fit even with the coarsest.
    """
    before = _chunk_sizes(terms.like) if terms.like else {}
    before.setdefault(_MODEL, chunk_bytes(sum(file.size for file in manifest.model_files)))
    coarser = 1
    while True:
        indexes = {
            file.path: index_file(
                places[file.path], chunk=before.get(_grid(file), 0), coarser=coarser
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


# All files of a model have chunks of one size, whole or in parts, so that each finds the others'.
_MODEL = "the model"


def _grid(file: PackageFile | ReleaseFile) -> str:
    """Return what the size of a file's chunks is kept under."""
    return _MODEL if file.role in {"model", PART} else file.path


def _chunk_sizes(packed: Path) -> dict[str, int]:
    """Return the size of the chunks of each file of a packed release.

    Raises:
        PackageError: it is none.
    """
    path = packed / NAME
    release = decode_release(path.read_bytes(), path=str(path))
    return {_grid(file): file.chunks.size for file in release.files if file.chunks is not None}


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
