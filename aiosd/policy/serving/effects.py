"""Decisions as values: what the scheduler wants done; the broker does it."""

import msgspec

from aiosd.domain.errors import AiosdError


class Load(msgspec.Struct, frozen=True):
    """Start a worker for this expert; `reserved_bytes`, all that it may hold, are in the books."""

    expert: str
    reserved_bytes: int


class Limit(msgspec.Struct, frozen=True):
    """From now on the books give this loaded expert so many bytes; the kernel may hold it there."""

    expert: str
    booked_bytes: int


class Unload(msgspec.Struct, frozen=True):
    """Close the idle worker of this expert; `why` is for events and logs."""

    expert: str
    why: str


class Park(msgspec.Struct, frozen=True):
    """Have the idle worker of this expert give back its context, and its `pages` too if so said."""

    expert: str
    pages: bool
    why: str


class Resume(msgspec.Struct, frozen=True):
    """Have the parked worker of this expert make its context again; its bytes are in the books."""

    expert: str


class Kill(msgspec.Struct, frozen=True):
    """End the worker of this expert now; it does not react."""

    expert: str
    why: str


class Serve(msgspec.Struct, frozen=True):
    """Hand this request to the expert's worker, with what it may use: see `Share`."""

    request: int
    expert: str
    queue_seconds: float
    load_seconds: float
    threads: int = 1
    duty: float = 1.0


class Adjust(msgspec.Struct, frozen=True):
    """Tell the expert's worker, which is answering, to use another share from its next step on."""

    expert: str
    threads: int
    duty: float


class Interrupt(msgspec.Struct, frozen=True):
    """Tell the expert's worker to stop answering this request."""

    request: int
    expert: str


class Refuse(msgspec.Struct, frozen=True):
    """End this request with an error."""

    request: int
    error: AiosdError


class Settle(msgspec.Struct, frozen=True):
    """Tell whoever asked for this expert's load or unload how it ended (None: as asked)."""

    expert: str
    error: AiosdError | None


Effect = Load | Limit | Unload | Park | Resume | Kill | Serve | Adjust | Interrupt | Refuse | Settle
