"""Why a request ends without an answer, in words and numbers for whoever must act."""

from aiosd.domain.errors import BusyError, DeadlineError, ExpertFailedError, OverRamError
from aiosd.domain.expert import ExpertState
from aiosd.policy.governor import Ledger
from aiosd.policy.queues import Ticket
from aiosd.policy.slots import Slot

_MIB = 2**20


def over_ram(slot: Slot, need: int, ledger: Ledger, pinned: dict[str, int]) -> OverRamError:
    """Say need, have, and what would have to go; `pinned` maps names to the bytes they hold."""
    cap, expert = ledger.cap_bytes, slot.facts.expert
    best = max(0, ledger.room_bytes - sum(pinned.values()))
    hint = f"unpin {', '.join(pinned)} to make room" if pinned else "raise ram.cap"
    return OverRamError(
        f"{expert} needs {need / _MIB:.1f} MiB, at most {best / _MIB:.1f} MiB of the cap of "
        f"{cap / _MIB:.1f} MiB can be had; {hint}",
        expert=expert,
        need_bytes=need,
        have_bytes=best,
        cap_bytes=cap,
        would_free=list(pinned),
    )


def resting(slot: Slot, now: float) -> ExpertFailedError:
    """Say why an expert rests, and until when."""
    rest, expert = slot.budget.rest_seconds(now), slot.facts.expert
    return ExpertFailedError(
        f"{expert} cannot be loaded: {slot.budget.reason}; tried again in {rest:.0f} s",
        expert=expert,
        reason=slot.budget.reason,
        retry_after_seconds=round(rest, 3),
    )


def late(ticket: Ticket, stage: str, now: float) -> DeadlineError:
    """Say where a request was when its time was up."""
    waited = now - ticket.arrived
    return DeadlineError(
        f"the deadline passed after {waited:.3f} s, while the request was {stage}",
        stage=stage,
        waited_seconds=round(waited, 3),
    )


def passed(deadline: float | None, now: float) -> bool:
    """Tell whether a deadline exists and is over."""
    return deadline is not None and deadline <= now


def stopping() -> BusyError:
    """Say that nothing new is taken on."""
    return BusyError("the daemon is stopping", retry_after_seconds=2.0)


def hung(slot: Slot) -> str:
    """Say why a worker is killed."""
    if slot.state is ExpertState.LOADING:
        return f"loading took longer than {slot.facts.load_limit_seconds:.0f} s"
    return "did not react in time"


def why_leaving(slot: Slot) -> str:
    """Return why an idle worker is to leave now, or nothing if it may stay."""
    if slot.stale or slot.removed:
        return "removed" if slot.removed else "replaced"
    if slot.oversize:
        return "holds more than the whole cap"
    return "asked" if slot.unload_wanted and not slot.queue else ""
