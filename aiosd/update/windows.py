"""When bytes may be fetched: hours of the day, connections that cost money, and a day's budget."""

from dataclasses import dataclass

import msgspec

from aiosd.domain.update import Fault, Update, UpdateError

_DAY_MINUTES = 24 * 60


def is_open(windows: list[str], minute: int) -> bool:
    """Tell whether a minute of the local day lies in any window; no window means always.

    A window like "22:00-05:30" goes over midnight; "00:00-00:00" is the whole day.
    """
    if not windows:
        return True
    return any(_within(window, minute) for window in windows)


def _within(window: str, minute: int) -> bool:
    first, last = (_minutes(part) for part in window.split("-"))
    # From the beginning on, round the clock: an end at the beginning is a whole day later.
    return (minute - first) % _DAY_MINUTES < ((last - first) % _DAY_MINUTES or _DAY_MINUTES)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched on a day ("2026-11-25", local), and of it over metered connections."""

    day: str = ""
    fetched: int = 0
    metered: int = 0

    def on(self, day: str) -> "Spent":
        """Return what counts on `day`: another day begins with nothing."""
        return self if self.day == day else Spent(day=day)

    def plus(self, count: int, *, metered: bool) -> "Spent":
        """Return it with `count` bytes more."""
        return msgspec.structs.replace(
            self, fetched=self.fetched + count, metered=self.metered + count * metered
        )


@dataclass(frozen=True)
class Circumstances:
    """How things stand now: the minute of the local day, the connection, what the day has spent."""

    minute: int
    metered: bool
    spent: Spent


def check_leave(update: Update, now: Circumstances, *, count: int, anyway: bool) -> None:
    """Refuse to fetch `count` bytes where the owner does not let us now.

    `anyway`: the operator wants it now, whatever the hour and the connection; a budget still holds.

    Raises:
        UpdateError: he does not; the word says which of his settings it is.
    """
    if count and not anyway and not is_open(update.window, now.minute):
        raise UpdateError(
            Fault.OUT_OF_WINDOW, f"fetching waits for {' or '.join(update.window)}, local time"
        )
    budget = update.size("metered_budget")
    if now.metered and not anyway and now.spent.metered + count > budget:
        raise UpdateError(
            Fault.METERED,
            f"the connection is metered, and {count} bytes are over what metered_budget "
            f"leaves today ({max(0, budget - now.spent.metered)})",
        )
    most = update.size("day_budget")
    if most and now.spent.fetched + count > most:
        raise UpdateError(
            Fault.OVER_BUDGET,
            f"{count} bytes are over what day_budget leaves today "
            f"({max(0, most - now.spent.fetched)})",
        )
