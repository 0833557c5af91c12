"""Questions to a Raspberry Pi's firmware, in the words of `vcgencmd`, without a process for each.

The kernel passes a property message on: an ioctl on `/dev/vcio_gencmd`, which carries nothing but
these questions, or on the older `/dev/vcio`, which carries everything and is root's alone on newer
systems. The message is the one of raspberrypi/utils' vcgencmd: words of 32 bits, namely the size of
all, 0 for a request, the tag GET_GENCMD_RESULT, the room for the answer, 0, the firmware's error,
then the question, which the answer replaces, and 0 at the end.
"""

import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Protocol

from aiosd.sensors.kernel_file import ROOT, SensorError, read_text

_GENCMD_RESULT = 0x0003_0080
_ROOM_BYTES = 1024
_HEADER = struct.Struct("=6I")
_MESSAGE_BYTES = _HEADER.size + _ROOM_BYTES + 4
_ANSWERED = 0x8000_0000
# _IOWR(100, 0, char *): both ways, the size of a pointer, driver 100, number 0.
_PROPERTY = 0xC000_0000 | struct.calcsize("P") << 16 | 100 << 8

_NODES = ("dev/vcio_gencmd", "dev/vcio")
_ADVICE = "let aiosd into the group video, and its unit open /dev/vcio_gencmd (or /dev/vcio)"


class Mailbox(Protocol):
    """Something that answers the firmware's questions."""

    def ask(self, question: str) -> str:
        """Return the answer, stripped.

        Raises:
            SensorError: there is none.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_mailbox(root: Path = ROOT) -> Mailbox:
    """Open the firmware's mailbox of the board at `root`.

    Where the node is a folder instead of a device, its files hold the answers and are named like
    the questions: a directory that stands for a board.

    Raises:
        SensorError: no node, or no permission (with what to do).
    """
    refused: SensorError | None = None
    for node in (root / name for name in _NODES):
        try:
            kind = node.stat().st_mode
        except OSError:
            continue
        if stat.S_ISDIR(kind):
            return FolderMailbox(node)
        try:
            return DeviceMailbox(node)
        except SensorError as error:
            refused = error
    raise refused or SensorError(
        f"no {' or '.join(f'/{name}' for name in _NODES)}: not Raspberry Pi's own kernel"
    )


class DeviceMailbox:
    """The mailbox of this machine; a question blocks for as long as the firmware thinks."""

    def __init__(self, node: Path) -> None:
        """Open the node.

        Raises:
            SensorError: it cannot be opened.
        """
        self._node = node
        try:
            # Read-only is enough for the ioctl, as vcgencmd opens it.
            self._descriptor = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            told = _ADVICE if isinstance(error, PermissionError) else ""
            raise SensorError(f"{node}: {error.strerror}", advice=told) from error

    def ask(self, question: str) -> str:
        """Ask the firmware.

        Raises:
            SensorError: the kernel or the firmware refuses.
        """
        message = request(question)
        try:
            fcntl.ioctl(self._descriptor, _PROPERTY, message, True)  # noqa: FBT003 - the buffer is written to
        except OSError as error:
            raise SensorError(f"{self._node}: {question}: {error.strerror}") from error
        return answer(bytes(message), question)

    def close(self) -> None:
        """Close the node."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FolderMailbox:
    """Answers from files."""

    def __init__(self, folder: Path) -> None:
        """Take the folder whose files are named like the questions."""
        self._folder = folder

    def ask(self, question: str) -> str:
        """Return the file's text.

        Raises:
            SensorError: no such file.
        """
        text = read_text(self._folder / question)
        if text is None:
            raise SensorError(f"{self._folder}: no answer to {question!r}")
        return text

    def close(self) -> None:
        """There is nothing to close."""


def request(question: str) -> bytearray:
    """Return the message that asks."""
    message = bytearray(_MESSAGE_BYTES)
    _HEADER.pack_into(message, 0, _MESSAGE_BYTES, 0, _GENCMD_RESULT, _ROOM_BYTES, 0, 0)
    data = question.encode("ascii")
    message[_HEADER.size : _HEADER.size + len(data)] = data
    return message


def answer(message: bytes, question: str) -> str:
    """Return what a message holds that came back.

    Raises:
        SensorError: it was not answered, or with an error of the firmware, or with nothing.
    """
    _, code, _, _, _, error = _HEADER.unpack_from(message)
    if code != _ANSWERED:
        raise SensorError(f"the firmware does not answer {question!r} (code {code:#010x})")
    if error:
        raise SensorError(f"the firmware answers {question!r} with error {error}")
    text = message[_HEADER.size : -4].split(b"\0", 1)[0].decode("ascii", "replace").strip()
    if not text:
        raise SensorError(f"the firmware answers {question!r} with nothing")
    return text
