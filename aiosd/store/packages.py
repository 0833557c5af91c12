"""One package folder: its manifest, and whether its files are there.

Nothing here reads a whole model: presence and size are checked at start-up, digests by
`aiosd.store.digests` before the expert is first loaded.
"""

import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.errors import ConfigError, PackageError
from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.domain.model_parts import PART
from aiosd.protocol.release_json import MAX_BYTES, NAME, decode_release, package_toml
from aiosd.protocol.toml import decode_toml
from aiosd.store.layout import MANIFEST

MANIFEST_MAX_BYTES = 1_048_576
# A git-lfs pointer opens with this line and is at most 1024 bytes long (git-lfs `docs/spec.md`).
POINTER_HEAD = b"version https://git-lfs.github.com/spec/"
POINTER_MAX_BYTES = 1024


@dataclass(frozen=True)
class Installed:
    """An expert on this board: what it declares, and the folder that holds its files."""

    manifest: Manifest
    folder: Path

    def path_of(self, file: PackageFile) -> Path:
        """Return where one of the manifest's files lies."""
        return self.folder / file.path

    @property
    def role_paths(self) -> dict[str, Path]:
        """The files that an engine's `load` takes, by role."""
        return {role: self.path_of(file) for role, file in self.manifest.engine_files.items()}


class MissingFileError(PackageError):
    """The manifest is fine, but a file it declares is not in the folder."""


def manifest_path(folder: Path) -> Path:
    """Return the file that says what a package is, whether it is there or not.

    A published release has the `manifest.json` that was signed, any other package an
    `expert.toml`, and so has a release that an aiosd before this one staged.
    """
    own, signed = folder / MANIFEST, folder / NAME
    return signed if not own.exists() and signed.exists() else own


def is_package(folder: Path) -> bool:
    """Tell whether there is a package in `folder`, or what is left of one."""
    return manifest_path(folder).exists()


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a package folder, without looking at the other files.

    Raises:
        PackageError: it is missing, unreadable, over 1 MiB (256 KiB for a published one), not
            UTF-8, not a manifest (with the line), or contradicts itself.
    """
    path = manifest_path(folder)
    if path.name == NAME:
        manifest = decode_release(_read(path, MAX_BYTES), path=str(path)).manifest
        _check_whole(manifest, path)
        return manifest
    return decode_manifest(_read(path, MANIFEST_MAX_BYTES), folder)


def manifest_toml(folder: Path) -> bytes:
    """Return the bytes of `expert.toml`, made anew for a published release.

    Raises:
        PackageError: there is no manifest, it is unreadable or too large, or a published one is
            damaged.
    """
    path = manifest_path(folder)
    if path.name == NAME:
        return package_toml(_read(path, MAX_BYTES), path=str(path)).encode("utf-8")
    return _read(path, MANIFEST_MAX_BYTES)


def decode_manifest(data: bytes, folder: Path) -> Manifest:
    """Return the manifest in `data`, which was read from `folder`.

    Raises:
        PackageError: as `read_manifest`.
    """
    path = folder / MANIFEST
    try:
        manifest = decode_toml(data.decode("utf-8"), Manifest, path=str(path))
    except UnicodeDecodeError as error:
        raise PackageError(
            f"{path}: not UTF-8 text (byte {error.start})", path=str(path)
        ) from error
    except ConfigError as error:
        raise PackageError(str(error), path=str(path)) from error
    _check_whole(manifest, path)
    return manifest


def check_folder_name(manifest: Manifest, folder: Path) -> None:
    """Refuse a folder whose name is not the expert's, so that one folder holds one name once.

    Raises:
        PackageError: the names differ.
    """
    if folder.name != manifest.name:
        path = manifest_path(folder)
        raise PackageError(
            f"{path}: name is {manifest.name!r} but the folder is {folder.name!r}; "
            "rename one of them",
            path=str(path),
        )


def check_files(installed: Installed) -> None:
    """Check that each declared file is a regular file of the declared size; reads no model.

    Symbolic links are followed: a digest is checked before the expert is loaded, wherever the
    bytes lie.

    Raises:
        MissingFileError: a file is not there.
        PackageError: a file has another size, is a git-lfs pointer, or is no regular file.
    """
    for file in installed.manifest.files:
        check_file(installed.path_of(file), file)


def check_file(path: Path, declared: PackageFile) -> None:
    """Check one file as `check_files` does.

    Raises:
        MissingFileError: the file is not there.
        PackageError: it has another size, is a git-lfs pointer, or is no regular file.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        kind = "model file" if declared.role in {"model", PART} else "file"
        hint = f"; get it from {declared.source}" if declared.source else ""
        raise MissingFileError(
            f"not installed: {kind} missing: {path}{hint}", path=str(path)
        ) from None
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise PackageError(f"{path}: not a regular file", path=str(path))
    if is_pointer(path, found.st_size):
        raise PackageError(
            f"{path}: a git-lfs pointer, not the file; fetch it with: git lfs pull", path=str(path)
        )
    if found.st_size != declared.size:
        raise PackageError(
            f"{path}: {found.st_size} bytes, but the manifest says {declared.size}", path=str(path)
        )


def is_pointer(path: Path, size: int) -> bool:
    """Tell whether a file of that size is a git-lfs pointer in place of the file."""
    if not len(POINTER_HEAD) <= size <= POINTER_MAX_BYTES:
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER_HEAD)) == POINTER_HEAD
    except OSError:
        return False


def _read(path: Path, most: int) -> bytes:
    """Return the bytes of a manifest.

    Raises:
        PackageError: it is missing, unreadable or over `most` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}", path=str(path)) from error
    if len(data) > most:
        raise PackageError(f"{path}: over the limit of {most} bytes for a manifest", path=str(path))
    return data


def _check_whole(manifest: Manifest, path: Path) -> None:
    """Check that a manifest, which was read from `path`, says nothing against itself.

    Raises:
        PackageError: it does.
    """
    for fault in _contradictions(manifest):
        raise PackageError(f"{path}: {fault}", path=str(path))


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what in a manifest contradicts the rest of it, a sentence each."""
    counts = Counter(file.path for file in manifest.files)
    for name, count in counts.items():
        if count > 1:
            yield f"files: {name!r} is listed {count} times"
        if name == MANIFEST:
            yield f"files: {MANIFEST!r} is the manifest itself and cannot hold its own digest"
    yield from _misfits(manifest)
    if manifest.adapter is not None and manifest.engine.name != "llama":
        yield f"files: the engine {manifest.engine.name!r} takes no adapter"
    if manifest.engine.base and (manifest.adapter is None or manifest.model is not None):
        yield "engine.base: goes with a file of role 'adapter' and without a model of one's own"
    for where, name in _mentions(manifest):
        if name not in counts:
            yield f"{where}: {name!r} is not among the files"


def _misfits(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the roles of the files."""
    roles = Counter(file.role for file in manifest.files if file.role not in {"", PART})
    for role, count in roles.items():
        if count > 1:
            yield f"files: {count} files have the role {role!r}; one may"
    if fault := manifest.parts_fault:
        yield f"files: {fault}"


def _mentions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield every mention of a file, with the key that holds it."""
    for stage, steps in (("pre", manifest.pre), ("post", manifest.post)):
        for index, step in enumerate(steps):
            name = getattr(step, "file", "")
            if name:
                yield f"{stage}[{index}].file", name
    if manifest.prompt is not None and manifest.prompt.grammar is not None:
        yield "prompt.grammar", manifest.prompt.grammar
    for key in ("examples", "calibration"):
        name = getattr(manifest.routing, key)
        if name is not None:
            yield f"routing.{key}", name
    for index, case in enumerate(manifest.self_test.cases):
        if case.file is not None:
            yield f"self_test.cases[{index}].file", case.file
