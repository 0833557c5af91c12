"""Keys of endpoints: read once, from where nobody else can read, and never told again."""

import ctypes
import os
import resource
import stat
from pathlib import Path

from aiosd.domain.uplink import Endpoint

_PR_SET_DUMPABLE = 4
_MAX_BYTES = 4096
_OPEN_TO_OTHERS = 0o077


class KeyRefusedError(Exception):
    """A key cannot be used; the message says what the owner must do, and never the key."""


class Key:
    """A secret that shows itself only in the one header it is for."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep the secret."""
        self._text = text

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override came with 3.12
        return "Key(hidden)"

    def header(self) -> dict[str, str]:
        """Return the header that carries it."""
        return {"Authorization": f"Bearer {self._text}"}


def close_shop() -> None:
    """See to it that no core dump and no other process of this user can show what is in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_key(endpoint: Endpoint, credentials: str) -> Key | None:
    """Return an endpoint's key; None where the owner gave none.

    `credentials` is systemd's $CREDENTIALS_DIRECTORY, or empty.

    Raises:
        KeyRefusedError: the file is missing, open to others, or holds no key.
    """
    if endpoint.key_credential:
        if not credentials:
            raise KeyRefusedError(
                f"there are no systemd credentials; add LoadCredential={endpoint.key_credential}:"
                "FILE to aiosd-uplink.service, or use key_file"
            )
        return Key(_read(Path(credentials) / endpoint.key_credential, private=False))
    if endpoint.key_file:
        return Key(_read(Path(endpoint.key_file), private=True))
    return None


def _read(path: Path, *, private: bool) -> str:
    """Return the one line in a file; if `private`, only of a file that is its owner's alone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeyRefusedError(f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if private:
            _check_owner(path, found)
        text = os.read(handle, _MAX_BYTES + 1)
    except OSError as error:
        raise KeyRefusedError(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    key = text.strip()
    # Anything else could end the header and begin another one.
    if not key or len(key) > _MAX_BYTES or not all(0x21 <= byte <= 0x7E for byte in key):  # noqa: PLR2004 - printable ASCII
        raise KeyRefusedError(f"{path}: holds no key: one word of printable ASCII is expected")
    return key.decode("ascii")


def _check_owner(path: Path, found: os.stat_result) -> None:
    """Refuse a file that anybody but its owner may read.

    Raises:
        KeyRefusedError: it is open to others, or not a file.
    """
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise KeyRefusedError(f"{path}: is no file")
    if mode & _OPEN_TO_OTHERS:
        raise KeyRefusedError(f"{path}: has mode {mode:04o}; chmod 600 {path}, and change the key")
    if found.st_uid not in {os.geteuid(), 0}:
        raise KeyRefusedError(f"{path}: belongs to user {found.st_uid}, not to this process's user")
