"""One file of a SIMULATED board, rewritten in place so that an open descriptor sees the news.

Sensors keep their descriptors and read from the start. So a text is written over the old one with
one pwrite, padded with spaces to the longest that the file has had, and the file is never
shortened while it is readable: a reader gets as many bytes as there are. It is not atomic: a read
that runs at the same moment may see the first bytes of the new text and the rest of the old one.
A kernel's own file cannot tear like that. `docs/boardsim.md` has how often it happens.
"""

import contextlib
import os
from pathlib import Path

from tools.boardsim.faults import Content, Refusal

# Reading address 0 of one's own memory is an I/O error on every Linux.
_REFUSING = "/proc/self/mem"


class Cell:
    """A file; it is made with its first text."""

    def __init__(self, path: Path) -> None:
        """Take its path; folders are made as needed."""
        self._path = path
        self._descriptor = -1
        self._width = 0
        self._shown: Content | None = None

    def show(self, content: Content) -> None:
        """Make the file say this, or refuse; nothing is written if it does already."""
        if content == self._shown:
            return
        if isinstance(content, Refusal):
            self._refuse(content)
        else:
            self._write(content)
        self._shown = content

    def close(self) -> None:
        """Leave the file as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, text: str) -> None:
        """Write over what there is, or make the file."""
        # Texts of the device tree end in NUL and have no line end.
        data = text.encode("ascii")
        if not data.endswith(b"\0"):
            self._width = max(self._width, len(data) + 1)
            data = data.ljust(self._width - 1) + b"\n"
        if self._descriptor < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_name(f".{self._path.name}.new")
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor = os.open(new, flags, 0o644)
            os.pwrite(self._descriptor, data, 0)
            new.replace(self._path)
        else:
            os.pwrite(self._descriptor, data, 0)

    def _refuse(self, refusal: Refusal) -> None:
        """Empty the file under its readers, and put nothing or a refusal in its place."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
        self.close()
        self._width = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        if refusal is Refusal.IO_ERROR:
            self._path.symlink_to(_REFUSING)
