"""Blocks that two files share: written once, until one of them is written to (btrfs, xfs).

ext4, f2fs and FAT have no such thing; there a copy is written.
"""

import errno
import fcntl
import os
import struct

from aiosd.store.failpoint import reach

# linux/fs.h: _IOW(0x94, 13, struct file_clone_range), the same on every architecture that has the
# generic numbers of ioctls: arm, arm64, riscv, x86.
_FICLONERANGE = 0x4020940D
_RANGE = struct.Struct("=qQQQ")
# What says that it cannot be done here, and nothing about the disk.
_CANNOT = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EPERM,
        errno.ETXTBSY,
        errno.EBADF,
    }
)


def block_bytes(handle: int) -> int:
    """Return the size of the blocks that files of this file system may share; at least 1.

    Raises:
        OSError: the file system does not answer.
    """
    return max(1, os.fstatvfs(handle).f_bsize)


def share(source: int, source_offset: int, handle: int, offset: int, size: int) -> bool:
    """Let `handle` have blocks of `source`; both offsets and `size` are multiples of the block.

    Returns False, with nothing changed, where the file system cannot.

    Raises:
        OSError: the disk is full or fails.
    """
    reach("copy.share")
    try:
        fcntl.ioctl(handle, _FICLONERANGE, _RANGE.pack(source, source_offset, size, offset))
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True
