"""What the daemon and its privileged helper say to each other: one small message a packet.

Strict on both sides, because the two are always of one release: an unknown key is refused.
MessagePack over a SOCK_SEQPACKET Unix socket, each order answered by one `Levers` or `Refused`.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

# No message is longer; an order has some 60 bytes, an answer of 12 clock groups some 1500.
MOST_BYTES = 8192
_Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.+-]+$")]


class _Packet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="t"):
    """What all of them share."""


class Look(_Packet, frozen=True, kw_only=True, tag="look"):
    """Say how everything stands."""


class SetClock(_Packet, frozen=True, kw_only=True, tag="clock"):
    """Let a cpufreq policy run at most at `khz`; 0 gives it back as it was found."""

    policy: _Name
    khz: Annotated[int, Meta(ge=0, le=100_000_000)]


class SetMode(_Packet, frozen=True, kw_only=True, tag="mode"):
    """Change to a power mode by its name; numbers mean another mode on every board."""

    name: _Name


class PolicyClock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cpufreq policy in kHz: its bounds by the hardware, its limit now and as it was found."""

    name: str
    min_khz: int
    max_khz: int
    limit_khz: int
    found_khz: int


class Levers(_Packet, frozen=True, kw_only=True, tag="levers"):
    """How everything stands; `mode` is empty where the board has no modes."""

    policies: list[PolicyClock]
    mode: str = ""
    modes: list[str] = msgspec.field(default_factory=list)


class Refused(_Packet, frozen=True, kw_only=True, tag="refused"):
    """An order was not carried out: why, and which names there are, if a name was wrong."""

    reason: str
    known: list[str] = msgspec.field(default_factory=list)


Order = Look | SetClock | SetMode
Answer = Levers | Refused
_T = TypeVar("_T")


def pack(packet: Order | Answer) -> bytes:
    """Return a message as the bytes of one packet."""
    return msgspec.msgpack.encode(packet)


def unpack_order(data: bytes) -> Order:
    """Return an order.

    Raises:
        ValueError: this is none.
    """
    return _unpack(data, Order)  # type: ignore[arg-type]


def unpack_answer(data: bytes) -> Answer:
    """Return an answer.

    Raises:
        ValueError: this is none.
    """
    return _unpack(data, Answer)  # type: ignore[arg-type]


def _unpack(data: bytes, kind: type[_T]) -> _T:
    if len(data) > MOST_BYTES:
        raise ValueError(f"a message has at most {MOST_BYTES} bytes")
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
