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
    def blobs(self) -> Path:
        """The folder of files by their content; on one file system with `experts[0]`."""
        return self.experts[0].parent / "blobs"

    @property
    def releases(self) -> Path:
        """The folder of published releases, into which links in `experts[0]` point."""
        return self.experts[0].parent / "releases"

    @property
    def ledger(self) -> Path:
        """The database of how far releases have come; it keeps old ones out: not to be deleted."""
        return self.state / "releases.db"

    @property
    def digests(self) -> Path:
        """The file that remembers which model files were hashed; safe to delete."""
        return self.state / "digests.json"

    @property
    def heads(self) -> Path:
        """The folder of the router's text heads; safe to delete."""
        return self.state / "heads"

    @property
    def success(self) -> Path:
        """What the router has learned of who answers well; deleting it forgets that."""
        return self.state / "success.json"

    @property
    def manifests(self) -> Path:
        """The file that remembers manifests that were read; safe to delete."""
        return self.state / "manifests.msgpack"

    @property
    def calibration(self) -> Path:
        """What a calibration found; deleting it brings the default model back."""
        return self.state / "calibration.json"

    @property
    def energy(self) -> Path:
        """What is known of joules, over a restart; safe to delete."""
        return self.state / "energy.json"

    @property
    def footprints(self) -> Path:
        """The file that remembers what releases held when they were loaded; safe to delete."""
        return self.state / "footprints.json"

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

    @property
    def powerd_socket(self) -> Path:
        """The socket of the privileged power helper."""
        return self.sockets / "powerd.sock"
