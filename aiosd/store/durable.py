"""Writes that survive a power cut: a file or a folder is either the old one or the new one."""

import contextlib
import ctypes
import errno
import os
import tempfile
from pathlib import Path

from aiosd.store.failpoint import reach

AT_FDCWD = -100
RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


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


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a power cut, sees the old content or the new.

    Raises:
        OSError: the folder is read-only or full, or the disk reports an error; `path` is as before.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            reach("file.write")
            file.write(data)
            file.flush()
            reach("file.sync")
            os.fsync(file.fileno())
        reach("file.rename")
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    reach("file.renamed")
    sync_folder(path.parent)


def exchange(first: Path, second: Path) -> bool:
    """Swap two names of one file system in one step; False if this file system cannot.

    Raises:
        OSError: a name is missing or may not be changed.
    """
    result = _libc.renameat2(
        AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE
    )
    if result == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(first))
