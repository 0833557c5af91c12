"""Where the daemon's sockets are, and why one of them cannot be reached."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.errors import InvalidError, UnreachableError

DEFAULT_FOLDER = Path("/run/aiosd")
# sun_path of a Unix socket address holds 108 bytes, the last of which is a zero.
MAX_PATH_BYTES = 107
PROBE_SECONDS = 0.5


@dataclass(frozen=True)
class Address:
    """The folder with the daemon's three sockets."""

    folder: Path

    @property
    def api(self) -> Path:
        """The socket for everybody who may ask."""
        return self.folder / "api.sock"

    @property
    def admin(self) -> Path:
        """The socket for operators."""
        return self.folder / "admin.sock"

    @property
    def events(self) -> Path:
        """The socket on which the daemon publishes what happens."""
        return self.folder / "events.sock"


def find_address(given: str | os.PathLike[str] | None = None) -> Address:
    """Return the sockets' folder: `given`, else $AIOSD_SOCKET_DIR, else /run/aiosd.

    `given` may also be the path of one of the sockets.

    Raises:
        InvalidError: a path that is too long for a Unix socket.
    """
    text = os.fspath(given) if given else os.getenv("AIOSD_SOCKET_DIR") or str(DEFAULT_FOLDER)
    folder = Path(text.removeprefix("ipc://"))
    if folder.suffix == ".sock":
        folder = folder.parent
    address = Address(folder)
    length = len(os.fsencode(address.events))
    if length > MAX_PATH_BYTES:
        raise InvalidError(
            f"the socket path {address.events} has {length} bytes, "
            f"at most {MAX_PATH_BYTES} are allowed; use a shorter folder",
            field="socket",
        )
    return address


def unreachable(path: Path, seconds: float, what: str = "") -> UnreachableError:
    """Return the error for a socket behind which nobody answered for `seconds`.

    `what` replaces the cause that is found by looking at the socket.
    """
    reason, cause, step = ("silent", what, _STATUS) if what else _cause(path)
    return UnreachableError(
        f"no aiosd answers at {path} after {seconds:g} s: {cause}; {step}",
        socket=str(path),
        reason=reason,
    )


def is_listening(path: Path) -> bool:
    """Tell whether somebody takes connections there, be it systemd for a daemon that starts."""
    return _cause(path)[0] == "silent"


_STATUS = "see: systemctl status aiosd"


def _cause(path: Path) -> tuple[str, str, str]:
    """Return a word, half a sentence and the next step for a socket that does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return "missing", "there is no such socket", f"is it running? {_STATUS}"
    except PermissionError:
        group = _group(path)
        step = f"join the group {group} (usermod -aG {group} $USER), then log in again"
        return "permission", "this user may not open it", step
    except ConnectionRefusedError:
        return "refused", "nobody listens there any more", f"start it, or {_STATUS}"
    except OSError as error:
        return "error", str(error), _STATUS
    return "silent", "it takes connections but does not speak", _STATUS


def _group(path: Path) -> str:
    """Return the group that may use the socket, or its number, or `aiosd`."""
    try:
        return path.group()
    except OSError:
        return "aiosd"
    except KeyError:
        return str(path.stat().st_gid)
