"""Every path that aiosd has on a board, once."""

import sys
from dataclasses import dataclass
from pathlib import Path

SHARE = Path(sys.prefix) / "share" / "aiosd"

MANIFEST = "expert.toml"


@dataclass(frozen=True)
class Layout:
    """Where things lie; the settings may replace any of them, and tests replace all.

    `experts` is searched in order and an earlier folder wins, so what the owner installed comes
    before what the distribution shipped; installing writes to the first. `profiles` likewise.
    """

    experts: tuple[Path, ...] = (Path("/var/lib/aiosd/experts"), SHARE / "experts")
    profiles: tuple[Path, ...] = (Path("/etc/aiosd/board-profiles"), SHARE / "board-profiles")
    settings: Path = Path("/etc/aiosd/aiosd.toml")
    state: Path = Path("/var/lib/aiosd/state")
    sockets: Path = Path("/run/aiosd")

    @property
    def digests(self) -> Path:
        """The file that remembers which model files were hashed; safe to delete."""
        return self.state / "digests.json"

    @property
    def manifests(self) -> Path:
        """The file that remembers manifests that were read; safe to delete."""
        return self.state / "manifests.msgpack"

    @property
    def api_socket(self) -> Path:
        """The socket of clients."""
        return self.sockets / "api.sock"

    @property
    def admin_socket(self) -> Path:
        """The socket of operators."""
        return self.sockets / "admin.sock"

    @property
    def events_socket(self) -> Path:
        """The socket on which events are published."""
        return self.sockets / "events.sock"
