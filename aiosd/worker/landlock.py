"""Which files a worker may see: Landlock, the kernel's own fence for unprivileged processes.

It binds the calling thread and what that starts later, so it must be set up while the process has
one thread. <linux/landlock.h> and the kernel's `Documentation/userspace-api/landlock.rst`.
"""

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Iterable
from ctypes import addressof, create_string_buffer
from pathlib import Path

from aiosd.worker.libc import syscall
from aiosd.worker.syscalls import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
)

_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
# Rights of the first version: execute, write, read, and making and removing each kind of file.
_FIRST_RIGHTS = (1 << 13) - 1
# Later versions: number → what it added to the file rights.
_LATER_RIGHTS = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_FILE_RIGHTS = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_NET_VERSION = 4
_NET_RIGHTS = 0b11  # bind and connect of TCP
_SCOPE_VERSION = 6
_SCOPES = 0b11  # abstract sockets and signals, to processes outside


def version() -> int:
    """Return the kernel's version of Landlock, 0 if it has none or it is switched off.

    Raises:
        OSError: the kernel answers something else.
    """
    try:
        return syscall(LANDLOCK_CREATE_RULESET, 0, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def fence(abi: int, *, read: Iterable[str | Path], write: Iterable[str | Path]) -> None:
    """Leave this thread reading below `read` and reading and writing `write`, and nothing else.

    Nothing can be executed, made, renamed or removed anywhere; from version 4 on no TCP, from
    version 6 on no signal and no abstract socket to the outside. Files that are open stay open.
    Paths that do not exist are left out. The process must have given up new privileges.

    Raises:
        OSError: the kernel refuses.
    """
    rights = _FIRST_RIGHTS
    for number, right in _LATER_RIGHTS.items():
        if abi >= number:
            rights |= right
    words = [rights]
    if abi >= _NET_VERSION:
        words.append(_NET_RIGHTS)
    if abi >= _SCOPE_VERSION:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    buffer = create_string_buffer(attributes, len(attributes))
    ruleset = syscall(LANDLOCK_CREATE_RULESET, addressof(buffer), len(attributes), 0)
    try:
        for path in read:
            _add(ruleset, path, rights & (_READ_FILE | _READ_DIR))
        for path in write:
            _add(ruleset, path, rights & (_READ_DIR | _FILE_RIGHTS))
        syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, path: str | Path, rights: int) -> None:
    """Allow `rights` at and below `path`, if it exists.

    Raises:
        OSError: the kernel refuses.
    """
    with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                rights &= _FILE_RIGHTS
            rule = struct.pack("=Qi", rights, handle)
            buffer = create_string_buffer(rule, len(rule))
            syscall(LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, addressof(buffer), 0)
        finally:
            os.close(handle)
