"""A file system that loses its power: a loop device, and the ioctl that shuts it down.

What was not synced when it is shut down is gone at the next mount, as after a power cut; what a
card's firmware loses though it was told to flush is not tested by this.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Self

# linux/fs.h: _IOR('X', 125, __u32), and how: 1 flushes the journal first, 2 does not.
FS_IOC_SHUTDOWN = 0x8004587D
FLUSHED, UNFLUSHED = 1, 2
# mkfs.xfs makes none under 300 MB, mkfs.btrfs none that is useful; the image has holes.
SIZE_BYTES = {"ext4": 96 << 20, "xfs": 320 << 20, "btrfs": 320 << 20}
# xfs in a file of an ext4, as a board may have it whose card is ext4 (docs/updates.md).
NESTED = "xfs-on-ext4"
# What the ext4 below takes for itself: so much, and an eighth.
_BELOW_BYTES = 64 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class NoDiskError(Exception):
    """This machine cannot do it; the sentence says why."""


class Disk:
    """One file system, mounted; a context that takes everything away again."""

    def __init__(
        self, kind: str = "ext4", size_bytes: int = 0, on_disk: Path | None = None
    ) -> None:
        """Make and mount one of that kind: ext4, xfs, btrfs (which cannot lose its power), nested.

        Its image is in memory, or in a folder that is on a disk. Of a nested one it is the disk
        below that loses its power, and whose writes are counted.

        Raises:
            NoDiskError: it cannot be made here.
        """
        if os.geteuid() != 0:
            raise NoDiskError("power cuts need root: a loop device and a mount")
        self.kind = kind
        self._format = "xfs" if kind == NESTED else kind
        for tool in (f"mkfs.{self._format}", "losetup"):
            if shutil.which(tool) is None:
                raise NoDiskError(f"power cuts need {tool}")
        memory = Path("/dev/shm")  # noqa: S108 - that is what it is for
        place = on_disk or (memory if memory.is_dir() else None)
        size = size_bytes or SIZE_BYTES[self._format]
        self._below: Disk | None = None
        if kind == NESTED:
            self._below = Disk("ext4", size + size // 8 + _BELOW_BYTES, place)
            place = self._below.root
        self._folder = Path(tempfile.mkdtemp(prefix="disk-", dir=place))
        self._image = self._folder / "disk.img"
        self.root = self._folder / "mounted"
        self.root.mkdir()
        self._device = ""
        try:
            self._make(size)
            self._attach()
            self.mount()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            told = getattr(error, "stderr", "") or str(error)
            raise NoDiskError(f"no loop device can be mounted here: {told}") from error

    def _make(self, size: int) -> None:
        """Make an empty file system in a file: with holes, but over another file system whole.

        Raises:
            OSError, CalledProcessError: it cannot be made.
        """
        with self._image.open("wb") as file:
            file.truncate(size)
            if self._below is not None:
                os.posix_fallocate(file.fileno(), 0, size)
        force = "-F" if self._format == "ext4" else "-f"
        tool = f"mkfs.{self._format}"
        subprocess.run([tool, "-q", force, str(self._image)], check=True, capture_output=True)

    def _attach(self) -> None:
        """Make the image a device; over another file system past the cache of that.

        Raises:
            CalledProcessError: losetup fails.
        """
        direct = "on" if self._below is not None else "off"
        found = subprocess.run(
            ["losetup", f"--direct-io={direct}", "--find", "--show", str(self._image)],
            check=True,
            capture_output=True,
            text=True,
        )
        self._device = found.stdout.strip()

    def _detach(self) -> None:
        subprocess.run(["losetup", "--detach", self._device], check=False)
        self._device = ""

    def mount(self) -> None:
        """Mount it; the journal is replayed if need be.

        Raises:
            OSError: it cannot be mounted.
        """
        result = _libc.mount(
            self._device.encode(), os.fsencode(self.root), self._format.encode(), 0, b""
        )
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self._device)

    def cut(self, how: int = UNFLUSHED) -> None:
        """Let the power go; whoever writes gets errors from now on.

        Raises:
            OSError: the kernel refuses.
        """
        if self._below is not None:
            self._below.cut(how)
            return
        handle = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, FS_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(handle)

    def power_up(self) -> None:
        """Take the file system away and mount it again.

        Raises:
            OSError: somebody still uses it, or it cannot be mounted.
        """
        if _libc.umount2(os.fsencode(self.root), 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.root))
        if self._below is not None:
            self._detach()
            self._below.power_up()
            self._attach()
        self.mount()

    def written(self) -> int:
        """Return how many bytes the device has been given to write since it was made."""
        if self._below is not None:
            return self._below.written()
        status = Path("/sys/class/block", Path(self._device).name, "stat").read_text("ascii")
        return int(status.split()[6]) * 512  # of the kernel's fixed sectors

    def close(self) -> None:
        """Unmount, give the loop device back and delete the image."""
        _libc.umount2(os.fsencode(self.root), _MNT_DETACH)
        if self._device:
            self._detach()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._below is not None:
            self._below.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
