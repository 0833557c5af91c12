"""`manifest.json` ⇄ a release: canonical bytes, strict to the key."""

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.domain.release import Release
from aiosd.protocol import canonical
from aiosd.protocol.toml import encode_toml

NAME = "manifest.json"
MAX_BYTES = canonical.MAX_BYTES


def decode_release(data: bytes, *, path: str = NAME) -> Release:
    """Return the release in `data`; the errors name `path`.

    Raises:
        PackageError: it is over 256 KiB, not canonical JSON, or no release.
    """
    return convert_release(decode_tree(data, path=path), path=path)


def decode_tree(data: bytes, *, path: str = NAME) -> dict[str, object]:
    """Return the tree in `data`, checked for its form alone.

    Raises:
        PackageError: it is over 256 KiB, not canonical JSON, or no map.
    """
    try:
        tree = canonical.decode(data, max_bytes=MAX_BYTES)
    except canonical.CanonicalError as error:
        raise PackageError(f"{path}: {error}", path=path) from error
    if not isinstance(tree, dict):
        raise PackageError(f"{path}: no map, but a {type(tree).__name__}", path=path)
    return tree


def convert_release(tree: dict[str, object], *, path: str = NAME) -> Release:
    """Return the release that a tree describes.

    Raises:
        PackageError: it describes none; the message says where.
    """
    try:
        return msgspec.convert(tree, Release)
    except msgspec.ValidationError as error:
        raise PackageError(f"{path}: {error}", path=path) from error


def encode_release(tree: dict[str, object], *, path: str = NAME) -> bytes:
    """Return the canonical bytes of a tree, which describes a release.

    Raises:
        PackageError: it describes none, or is over 256 KiB.
    """
    try:
        data = canonical.encode(tree)
    except canonical.CanonicalError as error:
        raise PackageError(f"{path}: {error}", path=path) from error
    decode_release(data, path=path)
    return data


def package_toml(manifest_json: bytes, *, path: str = NAME) -> str:
    """Return the `expert.toml` of a release: its package table and its files.

    Raises:
        PackageError: that is no release; the message names `path`.
    """
    tree = decode_tree(manifest_json, path=path)
    release = convert_release(tree, path=path)
    package = tree["package"]
    files = [
        {"path": file.path, "size": file.size, "sha256": file.sha256, "role": file.role}
        for file in release.files
    ]
    shown = {**package, "files": files} if isinstance(package, dict) else {}
    return f"# Made from {NAME}, which is what the publisher signed.\n{encode_toml(shown)}"
