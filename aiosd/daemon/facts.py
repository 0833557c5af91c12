"""What the daemon tells of itself that does not change from one look to the next."""

from dataclasses import dataclass


def own_version() -> str:
    """Return the version of the installed package."""
    from importlib.metadata import (  # noqa: PLC0415 - a tenth of the time to READY
        PackageNotFoundError,
        version,
    )

    try:
        return version("aiosd")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Facts:
    """What `status` tells that does not change while the daemon runs, or only on reload."""

    board: str
    profile_reason: str
    cap_reason: str
    config_path: str
    started: float
