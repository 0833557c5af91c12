"""Where packages and state lie on this board, for verbs that work on the disk."""

import argparse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aiosd.client import Client
from aiosd.client.address import find_address, is_listening
from aiosd.client.patience import Patience
from aiosd.domain.errors import AiosdError
from aiosd.store.layout import Layout
from aiosd.store.update_settings import read_own


def add_experts_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option that names another folder of experts than the daemon's."""
    parser.add_argument(
        "--experts-dir",
        type=Path,
        metavar="DIR",
        help=f"{what} (default: the daemon's first; without a daemon, as its settings say)",
    )


# A daemon that hangs must not keep anybody from looking at the disk.
_PATIENCE = Patience(silence=5.0, restart=5.0)


def places(socket_dir: str | None, experts: Path | None = None) -> Layout:
    """Return where things lie: as the daemon that answers says, else as the settings do.

    `experts` comes first where it is given; what is remembered of its texts then lies beside it.

    Raises:
        ConfigError: no daemon answers, and the settings are unreadable or wrong.
        InvalidError: the path of the sockets is too long.
    """
    if experts is not None:
        others = (each for each in Layout().experts if each != experts)
        return Layout(experts=(experts, *others), state=experts.parent / "state")
    address = find_address(socket_dir)
    if is_listening(address.api):
        with suppress(AiosdError), Client(address.folder, patience=_PATIENCE) as client:
            return told(client.status())
    return read_own(Layout().settings, must_exist=False).layout


def told(status: Mapping[str, object]) -> Layout:
    """Return where things lie by a status; the defaults for what an older daemon leaves out."""
    default = Layout()
    folders, state = status.get("experts_folders"), status.get("state_folder")
    experts = tuple(Path(str(each)) for each in folders) if isinstance(folders, list) else ()
    return Layout(
        experts=experts or default.experts,
        settings=Path(str(status.get("config_path") or default.settings)),
        state=Path(str(state)) if state else default.state,
    )
