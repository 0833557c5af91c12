"""Decisions as values: what the scheduler wants done; the broker does it."""

from dataclasses import dataclass

from aiosd.domain.errors import AiosdError


@dataclass(frozen=True)
class Load:
    """Start a worker for this expert; `reserved_bytes` are already in the books."""

    expert: str
    reserved_bytes: int


@dataclass(frozen=True)
class Unload:
    """Close the idle worker of this expert; `why` is for events and logs."""

    expert: str
    why: str


@dataclass(frozen=True)
class Kill:
    """End the worker of this expert now; it does not react."""

    expert: str
    why: str


@dataclass(frozen=True)
class Serve:
    """Hand this request to the expert's worker."""

    request: int
    expert: str
    queue_seconds: float
    load_seconds: float


@dataclass(frozen=True)
class Interrupt:
    """Tell the expert's worker to stop answering this request."""

    request: int
    expert: str


@dataclass(frozen=True)
class Refuse:
    """End this request with an error."""

    request: int
    error: AiosdError


@dataclass(frozen=True)
class Settle:
    """Tell whoever asked for this expert's load or unload how it ended (None: as asked)."""

    expert: str
    error: AiosdError | None


Effect = Load | Unload | Kill | Serve | Interrupt | Refuse | Settle
