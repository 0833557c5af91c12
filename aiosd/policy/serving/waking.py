"""When the scheduler must look again although nothing happened."""

from collections.abc import Iterable

from aiosd.policy.serving.slots import Slot
from aiosd.policy.serving.waiting import WaitingRoom


def next_wake(
    waiting: WaitingRoom, live: Iterable[Slot], *, gather_seconds: float, now: float
) -> float | None:
    """Return when time itself demands something, or None while nothing depends on it.

    That is a deadline, the end of a hold, of a worker's grace, of a keep-alive, or of the patience
    that those who wait for a cold or parked expert have with the loaded ones.
    """
    ends = waiting.hold_ends()
    cold = [each for each in waiting.slots() if each.away and not waiting.holds(each.facts.expert)]
    turns = [(slot.queue.oldest() or 0.0) + gather_seconds for slot in cold]
    first = sooner(waiting.next_deadline(), min(ends.values(), default=None))
    for slot in live:
        first = sooner(sooner(first, slot.kill_at), slot.idle_until())
        if slot.serving and not slot.ended:
            first = sooner(first, slot.serving.deadline)
        if cold and (slot.wanted or slot.returned):
            turns.append(slot.fresh_until(gather_seconds))
    for turn in turns:
        if turn > now:
            first = sooner(first, turn)
    return first


def sooner(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two times, either of which may be missing."""
    if one is None or (other is not None and other < one):
        return other
    return one
