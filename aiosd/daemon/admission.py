"""What a request must be before it is taken on: its times are numbers, its bytes have room."""

import math

from aiosd.domain.errors import BusyError, DeadlineError, InvalidError
from aiosd.domain.inputs import ChatInput, TextInput, attachment_index
from aiosd.domain.request import Options
from aiosd.protocol.codec import Buffer
from aiosd.protocol.messages import Run

RETRY_SECONDS = 0.5


def payload_of(run: Run, attachments: tuple[Buffer, ...]) -> tuple[Buffer | None, int]:
    """Return the bytes that travel beside the header, and the size of the input."""
    value = run.input
    if isinstance(value, TextInput):
        return None, len(value.text.encode())
    index = attachment_index(value)
    if index is not None:
        return attachments[index], len(attachments[index])
    if isinstance(value, ChatInput):
        return None, sum(len(turn.content.encode()) for turn in value.messages)
    return None, len(getattr(value, "data", None) or b"")


def check_bytes(size: int, held: int, most: int) -> None:
    """Refuse an input for which there is no room beside those that are held; one alone may always.

    Raises:
        BusyError: there is none now.
    """
    if held and held + size > most:
        raise BusyError(
            f"inputs of {held} bytes are held already, with yours they would be over {most}",
            retry_after_seconds=RETRY_SECONDS,
        )


def keep_alive_of(options: Options) -> float | None:
    """Return how long the expert is to stay loaded, if the request says so.

    Raises:
        InvalidError: that is not a number, and no clock could ever reach it.
    """
    seconds = options.keep_alive_seconds
    if seconds is not None and math.isnan(seconds):
        field = "options.keep_alive_seconds"
        raise InvalidError(f"{field} is not a number", field=field)
    return seconds


def joules_of(options: Options) -> float | None:
    """Return the most that the answer may be expected to take, if the request says so.

    Raises:
        InvalidError: that is not a number above zero.
    """
    joules = options.max_joules
    if joules is not None and not joules > 0:
        field = "options.max_joules"
        raise InvalidError(f"{field} is a number above 0, not {joules:g}", field=field)
    return joules


def deadline_of(options: Options, longest: float, now: float) -> float | None:
    """Return when the request's time is up.

    Raises:
        InvalidError: the deadline is longer than the owner allows, or not a number.
        DeadlineError: it has passed already.
    """
    seconds = options.deadline_seconds
    if seconds is None:
        return None
    if not seconds <= longest:
        raise InvalidError(
            f"a deadline is at most {longest:g} s, not {seconds:g}",
            field="options.deadline_seconds",
        )
    if seconds <= 0:
        raise DeadlineError("the deadline had passed on arrival", stage="arriving")
    return now + seconds
