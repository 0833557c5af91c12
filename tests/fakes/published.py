"""Releases made on the spot, as a publisher would pack them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from aiosd.domain.model_parts import PART
from aiosd.protocol.release_json import encode_release
from aiosd.store.blobs import Blobs
from aiosd.store.layout import Layout

CREATED = "2026-01-01T00:00:00Z"


def layout(root: Path) -> Layout:
    """A board's paths below a folder."""
    return Layout(experts=(root / "experts",), state=root / "state", sockets=root / "run")


def tree(
    name: str = "one",
    release: int = 1,
    files: Mapping[str, bytes] | None = None,
    **more: object,
) -> dict[str, object]:
    """The tree of a `manifest.json`; the first file is the model, or the first part of it."""
    held = {"model.bin": b"model bytes"} if files is None else files
    return {
        "format": 1,
        "name": name,
        "release": release,
        "created": CREATED,
        "licence": "MIT",
        "package": {
            "name": name,
            "release": release,
            "summary": "A package of a test",
            "licence": "MIT",
            "task": "echo",
            "engine": {"name": "echo"},
            "input": {"type": "text"},
        },
        "files": [
            {
                "path": path,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "role": _role(number, path),
            }
            for number, (path, data) in enumerate(held.items())
        ],
        **more,
    }


def _role(number: int, path: str) -> str:
    if number == 0:
        return "model"
    return PART if "-of-" in path else ""


def fill(blobs: Blobs, files: Mapping[str, bytes]) -> None:
    """Put files where a downloader would have put them."""
    for data in files.values():
        digest = hashlib.sha256(data).hexdigest()
        if not blobs.has(digest, len(data)):
            blobs.part(digest).write_bytes(data)
            blobs.adopt(digest, len(data))


def published(
    name: str = "one", release: int = 1, files: Mapping[str, bytes] | None = None, **more: object
) -> bytes:
    """The canonical bytes of a `manifest.json`."""
    return encode_release(tree(name, release, files, **more))
