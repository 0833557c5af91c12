"""What the daemon tells of itself that does not change from one look to the next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What `status` tells that does not change while the daemon runs, or only on reload."""

    board: str
    profile_reason: str
    cap_reason: str
    config_path: str
    experts_folders: tuple[str, ...]
    state_folder: str
    started: float
