"""When the scheduler must look again although nothing happened."""

from collections.abc import Iterable

from aiosd.domain.expert import ExpertState
from aiosd.policy.slots import Slot
from aiosd.policy.waiting import WaitingRoom


def next_wake(
    waiting: WaitingRoom, live: Iterable[Slot], *, gather_seconds: float, now: float
) -> float | None:
    """Return when time itself demands something, or None while nothing depends on it.

    That is a deadline, the end of a worker's grace, of a keep-alive, or of the patience that those
    who wait for a cold expert have with the loaded ones.
    """
    times: list[float | None] = [waiting.next_deadline()]
    cold = [slot for slot in waiting.slots() if slot.state is ExpertState.COLD]
    turns = [(slot.queue.oldest() or 0.0) + gather_seconds for slot in cold]
    for slot in live:
        times += [slot.kill_at, slot.idle_until()]
        if slot.serving and not slot.ended:
            times.append(slot.serving.deadline)
        if cold and (slot.wanted or slot.returned):
            turns.append(slot.fresh_until(gather_seconds))
    times += [turn for turn in turns if turn > now]
    return min((time for time in times if time is not None), default=None)
