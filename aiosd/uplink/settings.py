"""What the uplink reads for itself: its own table of the settings, its folder, its credentials.

It does not take addresses or keys from the daemon, so that whoever took over the daemon could not
send a key somewhere else.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiosd.domain.errors import ConfigError
from aiosd.domain.uplink import Uplink, WrongUplinkError, check_uplink
from aiosd.policy.outbound.pattern import PatternError
from aiosd.policy.outbound.redaction import Redactor
from aiosd.protocol.toml import decode_toml
from aiosd.store.layout import Layout


class _Paths(msgspec.Struct, frozen=True):
    """Where the daemon keeps what it remembers."""

    state: str = ""


class _File(msgspec.Struct, frozen=True):
    """The parts of the settings that matter here; the daemon is strict about the others."""

    paths: _Paths = _Paths()
    uplink: Uplink = Uplink()


@dataclass(frozen=True)
class Own:
    """The uplink's settings, with what follows from them and from its surroundings."""

    uplink: Uplink
    redactor: Redactor
    folder: Path
    credentials: str


def read_own(path: Path) -> Own:
    """Return the settings.

    Raises:
        ConfigError: the file is unreadable or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=str(path)) from error
    file = decode_toml(text, _File, path=str(path))
    try:
        check_uplink(file.uplink)
        redactor = Redactor(file.uplink.redact)
    except (WrongUplinkError, PatternError) as error:
        raise ConfigError(str(error), path=str(path)) from error
    environment = dict(os.environ)  # noqa: TID251 - this is the one place of this process
    state = Path(file.paths.state) if file.paths.state else Layout().state
    folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return Own(
        file.uplink,
        redactor,
        Path(folder) if folder else state / "uplink",
        environment.get("CREDENTIALS_DIRECTORY", ""),
    )


def listening(pid: int) -> int | None:
    """Return the socket that systemd listens on for this process, if it does (sd_listen_fds(3))."""
    environment = os.environ  # noqa: TID251 - this is the one place of this process
    if environment.get("LISTEN_PID") == str(pid) and environment.get("LISTEN_FDS") == "1":
        return 3
    return None
