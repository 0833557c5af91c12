"""What the daemon publishes on its events socket."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from aiosd.domain.errors import InvalidError

EVENT_FRAMES = 2


@dataclass(frozen=True)
class Event:
    """Something that happened: its topic such as "expert.ready", when, and the facts."""

    topic: str
    at: float
    facts: dict[str, object]


_FACTS = msgspec.msgpack.Decoder(dict[str, object])


def decode_event(frames: Sequence[bytes]) -> Event:
    """Return the event in these two frames.

    Raises:
        InvalidError: this is no event of aiosd.
    """
    if len(frames) != EVENT_FRAMES:
        raise InvalidError(f"an event has {EVENT_FRAMES} frames, this one has {len(frames)}")
    try:
        facts = _FACTS.decode(frames[1])
        topic = str(frames[0], "utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"this is no event of aiosd: {error}") from error
    at = facts.pop("at", 0.0)
    return Event(topic, float(at) if isinstance(at, (int, float)) else 0.0, facts)


def wanted(topic: str, topics: Sequence[str]) -> bool:
    """Tell whether `topic` is one of `topics` or below one of them; no topics means all."""
    return not topics or any(topic == one or topic.startswith(f"{one}.") for one in topics)
