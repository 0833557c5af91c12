"""Every message on the pipe between the daemon and the uplink's process.

Framed as on the pipe to a worker. Closing the pipe is a message too: the uplink exits.
"""

import msgspec

from aiosd.domain.inputs import Turn
from aiosd.domain.request import Sampling
from aiosd.protocol.pipe import CancelRequest, Failed, Piece


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """What all messages share: the type tag."""


# ── daemon → uplink ──────────────────────────────────────────────────────────────────────────


class Ask(_Message, frozen=True, kw_only=True, tag="ask"):
    """Have one request answered; `kind`, `client` and `uid` are for the log of what left."""

    id: int
    turns: list[Turn]
    sampling: Sampling
    stream: bool
    kind: str
    client: str
    uid: int | None
    seconds: float | None = None
    max_cost: float | None = None


class Look(_Message, frozen=True, kw_only=True, tag="look"):
    """Tell how things stand, or (with `lines`) what left last."""

    id: int
    lines: int = 0


# ── uplink → daemon ──────────────────────────────────────────────────────────────────────────


class UplinkReady(_Message, frozen=True, kw_only=True, tag="ready"):
    """The uplink runs; `problems` name endpoints that cannot be used, and why."""

    pid: int
    endpoints: list[str]
    problems: list[str]


class Answered(_Message, frozen=True, kw_only=True, tag="answered"):
    """The answer to a request, with what it cost; `cost` is None where no price is set."""

    id: int
    text: str
    endpoint: str
    model: str
    finish_reason: str
    run_ms: float
    first_token_ms: float | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    currency: str
    redactions: int


class Looked(_Message, frozen=True, kw_only=True, tag="looked"):
    """What was asked to be seen."""

    id: int
    body: dict[str, object]


ToUplink = Ask | CancelRequest | Look
FromUplink = UplinkReady | Piece | Answered | Failed | Looked
