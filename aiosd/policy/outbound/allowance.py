"""What may go up in a day: requests, bytes and money, taken before it is spent.

Each request takes the most that it can cost, and gives back what it did not need. What is written
down is a mark that lies ahead of what was taken, so that the disk is written a few times a day and
a crash can only make the rest of the day smaller: after it the whole mark counts as spent. A day
is a day of UTC; a clock that goes back stays in the later day, and gives nothing back.
"""

import msgspec

# How many times a day the mark moves on, about.
_STEPS = 16


class Amount(msgspec.Struct, frozen=True):
    """Requests, bytes and money (in millionths of the currency), which are added together."""

    requests: int = 0
    bytes: int = 0
    micros: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.requests + other.requests, self.bytes + other.bytes, self.micros + other.micros
        )

    def __sub__(self, other: "Amount") -> "Amount":
        """Return the difference, nowhere below zero."""
        return Amount(
            max(0, self.requests - other.requests),
            max(0, self.bytes - other.bytes),
            max(0, self.micros - other.micros),
        )

    def fits(self, most: "Amount") -> bool:
        """Tell whether no part is over that of `most`."""
        return (
            self.requests <= most.requests
            and self.bytes <= most.bytes
            and self.micros <= most.micros
        )


NOTHING = Amount()


class Mark(msgspec.Struct, frozen=True):
    """What is written down: on this day (counted from 1970 in UTC) at most so much was spent."""

    day: int
    spent: Amount


class Allowance:
    """The books of one day."""

    def __init__(self, per_day: Amount, mark: Mark) -> None:
        """Go on from what is written down."""
        self.per_day = per_day
        self._mark = mark
        self.day = mark.day
        self.spent = mark.spent

    def take(self, want: Amount, day: int) -> str:
        """Take the most that a request can cost; return what is short, or nothing."""
        self._turn(day)
        after = self.spent + want
        if after.fits(self.per_day):
            self.spent = after
            return ""
        if after.requests > self.per_day.requests:
            return "requests_per_day"
        return "bytes_per_day" if after.bytes > self.per_day.bytes else "money_per_day"

    def settle(self, taken: Amount, real: Amount, taken_on: int) -> None:
        """Put what a request did cost in the place of what it took; yesterday's change is kept."""
        if taken_on == self.day:
            self.spent = self.spent - taken
            self.spent += real
        else:
            self.spent += real - taken

    def mark(self) -> Mark | None:
        """Return what must be written before anything goes up; None while the old mark covers it.

        Call `written` once it lies on the disk.
        """
        if self._mark.day == self.day and self.spent.fits(self._mark.spent):
            return None
        ahead = Amount(
            max(1, self.per_day.requests // _STEPS),
            self.per_day.bytes // _STEPS,
            self.per_day.micros // _STEPS,
        )
        return Mark(self.day, self.spent + ahead)

    def exact(self) -> Mark:
        """Return what to write at an orderly end; what is under way counts in full."""
        return Mark(self.day, self.spent)

    def written(self, mark: Mark) -> None:
        """Take note that a mark lies on the disk."""
        self._mark = mark

    def look(self, day: int) -> Amount:
        """Return what was spent on this day so far."""
        self._turn(day)
        return self.spent

    def _turn(self, day: int) -> None:
        """Begin a new day."""
        if day > self.day:
            self.day, self.spent = day, Amount()
