"""What the updater, and aiosctl on its behalf, read of the settings: `[update]` and the paths."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiosd.domain.errors import ConfigError
from aiosd.domain.update import Update, WrongUpdateError, check_update
from aiosd.protocol.toml import decode_toml
from aiosd.store.layout import Layout


class _Paths(msgspec.Struct, frozen=True):
    """Where the daemon has its things."""

    experts: list[str] = msgspec.field(default_factory=list)
    state: str = ""
    sockets: str = ""


class _File(msgspec.Struct, frozen=True):
    """The parts of the settings that matter here; the daemon is strict about the others."""

    paths: _Paths = _Paths()
    update: Update = Update()


@dataclass(frozen=True)
class Own:
    """The updater's settings, and the board's paths."""

    update: Update
    layout: Layout

    @property
    def folder(self) -> Path:
        """Where the updater keeps what it believes of the publisher."""
        return self.layout.state / "update"


def read_own(path: Path, *, must_exist: bool) -> Own:
    """Return the settings; all defaults, which are no updates, where the file may be absent.

    Raises:
        ConfigError: the file is unreadable or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must_exist:
            raise ConfigError("there is no such file", path=str(path)) from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=str(path)) from error
    file = decode_toml(text, _File, path=str(path))
    try:
        check_update(file.update)
    except WrongUpdateError as error:
        raise ConfigError(str(error), path=str(path)) from error
    default, paths = Layout(), file.paths
    layout = Layout(
        experts=tuple(map(Path, paths.experts)) or default.experts,
        state=Path(paths.state) if paths.state else default.state,
        sockets=Path(paths.sockets) if paths.sockets else default.sockets,
    )
    return Own(file.update, layout)
