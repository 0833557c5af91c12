"""Writes that survive a power cut: a file or a folder is either the old one or the new one."""

import contextlib
import os
from pathlib import Path

from aiosd.store.failpoint import reach


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable.

    Raises:
        OSError: the folder cannot be opened or the disk reports an error.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path) -> None:
    """Make `folder` and what is missing above it, each durable in the one that holds it.

    Raises:
        OSError: one cannot be made.
    """
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    reach("folder.made")
    sync_folder(folder.parent)


def write_new(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Write a file that is not there yet, its bytes durable; its name is once the folder is synced.

    Raises:
        OSError: it is there, or the disk says no.
    """
    with path.open("xb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def replace_link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, in one step where it is one or nothing yet.

    Raises:
        OSError: the folder cannot be written, or `path` is a folder; `path` is as before.
    """
    draft = path.with_name(f".link-{path.name}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    try:
        reach("link.rename")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    reach("link.renamed")
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path` so that a reader, or a power cut, sees the old content or the new.

    What is not to be `durable` is not waited for, and a power cut may tear it: for caches whose
    reader finds that out.

    Raises:
        OSError: the folder is read-only or full, or the disk reports an error; `path` is as before.
    """
    # As `tempfile` does, which takes 0.5 MiB of a daemon with what it imports.
    draft = path.with_name(f".{path.name}-{os.urandom(8).hex()}")
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            reach("file.write")
            file.write(data)
            file.flush()
            if durable:
                reach("file.sync")
                os.fsync(file.fileno())
        reach("file.rename")
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    reach("file.renamed")
    if durable:
        sync_folder(path.parent)
