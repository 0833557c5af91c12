"""A bound on the joules of any hour, or any day: drawn before a request runs, put right after.

The window slides: what was taken comes back when it is one period old, to a sixtieth of it. So no
hour, wherever it begins, holds more than the bound, and all of it can be used.
"""

from collections import deque
from dataclasses import dataclass

from aiosd.domain.allowance import Admission, Draw

_SLOTS = 60
# Work that nobody waits for leaves this much of the bound to those who do wait.
_BACKGROUND_SHARE = 0.5
_ROUNDING_JOULES = 1e-9


@dataclass
class _Slot:
    """What was taken within one sixtieth of the period."""

    start: float
    joules: float = 0.0


class JouleBucket:
    """What requests have drawn within the last period; `bound_joules` None bounds nothing."""

    def __init__(self, bound_joules: float | None, period_seconds: float) -> None:
        """Start full."""
        self.bound_joules, self.period_seconds = bound_joules, period_seconds
        self._slots: deque[_Slot] = deque()
        self._drawn: dict[int, tuple[_Slot, float]] = {}
        self._taken = 0.0

    def taken(self, now: float) -> float:
        """Return the joules of the last period."""
        while self._slots and self._expires(self._slots[0]) <= now:
            self._taken -= self._slots.popleft().joules
        if not self._slots:
            self._taken = 0.0
        return self._taken

    def surplus(self, now: float) -> bool:
        """Tell whether work that nobody waits for may draw."""
        bound = self.bound_joules
        return bound is None or self.taken(now) < _BACKGROUND_SHARE * bound

    def draw(self, request: int, joules: float, now: float, *, background: bool = False) -> Draw:
        """Take what a request is expected to need, if it is there."""
        draw = self.ask(joules, now, background=background)
        if draw.admit is Admission.NOW:
            slot = self._slot(now)
            slot.joules += joules
            self._taken += joules
            self._drawn[request] = (slot, joules)
        return draw

    def ask(self, joules: float, now: float, *, background: bool = False) -> Draw:
        """Return what `draw` would say, and take nothing.

        One that needs more than the whole bound is refused; others wait, and are told how long.
        """
        bound = self.bound_joules
        if bound is not None:
            share = bound * (_BACKGROUND_SHARE if background else 1.0)
            if joules > share:
                return Draw(
                    Admission.REFUSE,
                    None,
                    f"about {joules:.3g} J, of {share:.3g} J in {self.period_seconds:.0f} s",
                )
            wait = self._wait(joules - (share - self.taken(now)), now)
            if wait > 0:
                return Draw(
                    Admission.WAIT,
                    wait,
                    f"{self.taken(now):.3g} of {share:.3g} J are used in this "
                    f"{self.period_seconds:.0f} s",
                )
        return Draw(Admission.NOW)

    def reconcile(self, request: int, joules: float | None) -> None:
        """Replace what was drawn by what was used; None leaves it as it was drawn."""
        slot, drawn = self._drawn.pop(request, (None, 0.0))
        if slot is None or joules is None:
            return
        slot.joules += joules - drawn
        # A slot that has left the window meanwhile was counted out with what it held then.
        if any(each is slot for each in self._slots):
            self._taken += joules - drawn

    def _wait(self, missing: float, now: float) -> float:
        """Return how long until so many joules have left the window."""
        if missing <= 0:
            return 0.0
        for slot in self._slots:
            missing -= slot.joules
            if missing <= _ROUNDING_JOULES:
                # Rounded, it may come out longer than the slot lives.
                return min(max(self._expires(slot) - now, 1e-3), self._life)
        return self.period_seconds

    def _expires(self, slot: _Slot) -> float:
        """Return when a slot leaves the window."""
        return slot.start + self._life

    @property
    def _life(self) -> float:
        """How long a slot counts."""
        return self.period_seconds * (1 + 1 / _SLOTS)

    def _slot(self, now: float) -> _Slot:
        """Return the slot of this moment."""
        if not self._slots or now >= self._slots[-1].start + self.period_seconds / _SLOTS:
            self._slots.append(_Slot(now))
        return self._slots[-1]
