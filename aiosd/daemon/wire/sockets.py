"""The daemon's sockets: taken from systemd, or bound here without ever robbing a live daemon.

A path must be unlinked before it can be bound again, also one on which another daemon listens, so
the order here is: a lock that dies with its holder, then a look whether somebody answers at the
path, then unlink and bind.
"""

import fcntl
import grp
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from aiosd.domain.errors import ConfigError
from aiosd.store.layout import Layout

log = logging.getLogger(__name__)

FIRST_PASSED = 3
# sun_path is 108 bytes long and ends with a NUL (Linux, unix(7)).
MAX_PATH_BYTES = 107
# How many may wait to be accepted; the kernel's default bound is 4096.
_WAITING = 128


class TakenError(Exception):
    """Another daemon serves these sockets."""


def passed_sockets(environment: Mapping[str, str], pid: int) -> dict[str, int]:
    """Return the descriptors that systemd passed, by name (sd_listen_fds_with_names(3))."""
    if environment.get("LISTEN_PID") != str(pid):
        return {}
    said = environment.get("LISTEN_FDS", "0")
    count = int(said) if said.isdecimal() else 0
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return {name: FIRST_PASSED + number for number, name in zip(range(count), names, strict=False)}


class Sockets:
    """Binds each socket once; holds the lock for as long as the process lives."""

    def __init__(self, layout: Layout, passed: Mapping[str, int], mode: int) -> None:
        """Use what systemd passed where it did, else bind under `layout.sockets` with `mode`.

        Raises:
            TakenError: another daemon holds the lock.
            ConfigError: the folder cannot be used.
        """
        self._layout = layout
        self._passed = passed
        self._mode = mode
        self._bound: list[Path] = []
        self._lock = -1 if passed else self._take_lock()

    def open(self, name: str, group: str) -> socket.socket:
        """Return a listening socket at the path `<name>.sock`.

        Raises:
            TakenError: somebody answers at the path.
            ConfigError: the path cannot be bound, or there is no such group.
        """
        if name in self._passed:
            return socket.socket(fileno=os.dup(self._passed[name]))
        path = self._layout.sockets / f"{name}.sock"
        _clear(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._bind(made, path, group)
        except ConfigError:
            made.close()
            raise
        return made

    def _bind(self, made: socket.socket, path: Path, group: str) -> None:
        """Bind at the path and listen, for nobody else before the mode and group are right."""
        before = os.umask(0o777 & ~self._mode)
        try:
            made.bind(str(path))
        except OSError as error:
            raise ConfigError(f"cannot bind {path}: {error.strerror}") from error
        finally:
            os.umask(before)
        self._bound.append(path)
        _hand_over(path, self._mode, group)
        made.listen(_WAITING)

    def close(self) -> None:
        """Remove the paths that were bound here, then let go of the lock."""
        for path in self._bound:
            path.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)

    def _take_lock(self) -> int:
        """Return the held lock's descriptor."""
        folder = self._layout.sockets
        longest = os.fsencode(folder / "events.sock")
        if len(longest) > MAX_PATH_BYTES:
            raise ConfigError(
                f"the path {folder} is too long: a socket's path has at most "
                f"{MAX_PATH_BYTES} bytes, this makes {len(longest)}"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {folder} for sockets: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise TakenError(f"another aiosd serves {folder}; stop it first") from None
        return lock


def _clear(path: Path) -> None:
    """Unlink a socket that nobody listens on any more.

    Raises:
        TakenError: somebody does.
        ConfigError: something else lies there.
    """
    if not path.exists():
        return
    if not path.is_socket():
        raise ConfigError(f"{path} is in the way and is no socket; remove it")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except PermissionError as error:
            raise ConfigError(f"cannot look whether {path} is in use: {error.strerror}") from error
    raise TakenError(f"somebody answers at {path}; stop that daemon first")


def _hand_over(path: Path, mode: int, group: str) -> None:
    """Give the socket its mode and group."""
    path.chmod(mode)
    if group:
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except KeyError:
            raise ConfigError(f"there is no group {group!r}; see systemd/README.md") from None
        except PermissionError as error:
            raise ConfigError(f"cannot give {path} to {group}: {error.strerror}") from error
