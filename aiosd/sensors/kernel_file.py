"""Small files of the kernel, held open and read again and again, with every way they fail."""

import contextlib
import os
import re
from pathlib import Path

ROOT = Path("/")

# Anything of sysfs is one page; /proc/stat begins with what is wanted of it.
PAGE_BYTES = 4096

_NUMBER = re.compile(r"[+-]?\d{1,20}")


class SensorError(Exception):
    """An instrument is absent, shut, or says nothing usable.

    `reason` is one sentence; `advice` says what the operator can do, empty if nothing.
    """

    def __init__(self, reason: str, *, advice: str = "") -> None:
        """Take the reason, and the next step if there is one."""
        super().__init__(f"{reason}; {advice}" if advice else reason)
        self.reason = reason
        self.advice = advice


class KernelFile:
    """A file that is opened once and read from its start each time.

    Raises:
        SensorError: in the constructor, if it cannot be opened.
    """

    def __init__(self, path: Path, *, advice: str = "") -> None:
        """Open the file; `advice` is what helps if that is not permitted."""
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            told = advice if isinstance(error, PermissionError) else ""
            raise SensorError(f"{path}: {error.strerror}", advice=told) from error

    def text(self, limit_bytes: int = PAGE_BYTES) -> str:
        """Return at most so many bytes as text, stripped.

        Raises:
            SensorError: the kernel refuses (EIO of a channel that is off, ENODEV of a driver that
                is gone), or there is nothing in it.
        """
        try:
            data = os.pread(self._descriptor, limit_bytes, 0)
        except OSError as error:
            raise SensorError(f"{self.path}: {error.strerror}") from error
        text = data.decode("ascii", "replace").strip("\0 \t\r\n")
        if not text:
            raise SensorError(f"{self.path}: empty")
        return text

    def number(self) -> int:
        """Return the one whole number in the file.

        Raises:
            SensorError: as `text`, or it holds something else, such as "N/A".
        """
        text = self.text()
        if not _NUMBER.fullmatch(text):
            raise SensorError(f"{self.path}: {text[:40]!r} is no number")
        return int(text)

    def close(self) -> None:
        """Close it; it cannot be read again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_text(path: Path, limit_bytes: int = PAGE_BYTES) -> str | None:
    """Return a small file's text, stripped; None if it is missing, refused or empty."""
    with contextlib.suppress(SensorError):
        file = KernelFile(path)
        try:
            return file.text(limit_bytes)
        finally:
            file.close()
    return None


def read_number(path: Path) -> int | None:
    """Return the one whole number in a small file; None if it has none."""
    text = read_text(path)
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
