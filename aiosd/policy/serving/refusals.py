"""Why a request ends without an answer, in words and numbers for whoever must act."""

import math

from aiosd.domain.errors import (
    BusyError,
    DeadlineError,
    ExpertFailedError,
    OverRamError,
    UnknownExpertError,
)
from aiosd.domain.expert import ExpertState
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.slots import Slot

_MIB = 2**20
# Memory that others hold comes free when they please; to ask again sooner is no use.
SHORT_SECONDS = 5.0


def over_ram(slot: Slot, need: int, ledger: Ledger, pinned: dict[str, int]) -> OverRamError:
    """Say need, have, and what would make room; `pinned` maps names to the bytes they hold.

    An estimate may be wrong and a measurement exceptional, so how to override it is said too.
    """
    cap, expert = ledger.cap_bytes, slot.facts.expert
    left = ledger.room_bytes - sum(pinned.values())  # negative where the hosts alone take more
    best = max(0, left)
    wider = f"raise ram.cap to {math.ceil((cap + need - left) / _MIB)} MiB at least"
    hint = f"unpin {', '.join(pinned)} or {wider}" if pinned else wider
    measured = slot.appetite.peak_bytes >= need
    doubt = "if that was an exception" if measured else "if you know that it needs less"
    hint += f"; {doubt}: aiosctl load {expert} --ram SIZE"
    return OverRamError(
        f"{expert} {'held' if measured else 'is reckoned to need'} {need / _MIB:.1f} MiB, at most "
        f"{best / _MIB:.1f} MiB of the cap of {cap / _MIB:.1f} MiB can be had; {hint}",
        expert=expert,
        need_bytes=need,
        have_bytes=best,
        cap_bytes=cap,
        would_free=list(pinned),
        measured=measured,
    )


def no_room_beside(slot: Slot, other: Slot, lacking_bytes: int, ledger: Ledger) -> str:
    """Say what one expert needs beside another, and what cap would be enough for both."""
    need, has = slot.appetite.expected_bytes() / _MIB, other.appetite.expected_bytes() / _MIB
    cap = ledger.cap_bytes
    return (
        f"no room: {slot.facts.expert} needs {need:.1f} MiB beside the {has:.1f} MiB of "
        f"{other.facts.expert}, and {lacking_bytes / _MIB:.1f} MiB of that are lacking; "
        f"raise ram.cap to {math.ceil((cap + lacking_bytes) / _MIB)} MiB"
    )


def overgrown(slot: Slot, held_bytes: int, ledger: Ledger) -> OverRamError:
    """Say by how much an expert went over what was reserved, and that all went over the cap."""
    expert, reserved = slot.facts.expert, slot.reserved_bytes
    return OverRamError(
        f"{expert} grew to {held_bytes / _MIB:.1f} MiB, {reserved / _MIB:.1f} MiB were reserved; "
        f"with it all experts went over the cap of {ledger.cap_bytes / _MIB:.1f} MiB, so it was "
        "ended; needs.ram_bytes of its package says too little",
        expert=expert,
        need_bytes=held_bytes,
        have_bytes=reserved,
        cap_bytes=ledger.cap_bytes,
    )


def removed(expert: str) -> UnknownExpertError:
    """Say that an expert is not installed any more."""
    return UnknownExpertError(f"expert {expert!r} was removed", expert=expert)


def crashed(expert: str, reason: str) -> ExpertFailedError:
    """Say that a worker ended while it answered."""
    return ExpertFailedError(f"{expert}: {reason}", expert=expert, reason=reason)


def machine_full(slot: Slot, need_bytes: int, lacking_bytes: int) -> OverRamError:
    """Say that other programs have taken the RAM that the cap would give."""
    expert = slot.facts.expert
    return OverRamError(
        f"{expert} needs {need_bytes / _MIB:.1f} MiB; the cap allows it, but this machine lacks "
        f"{lacking_bytes / _MIB:.1f} MiB of free memory now: other programs hold it",
        expert=expert,
        need_bytes=need_bytes,
        have_bytes=max(0, need_bytes - lacking_bytes),
        lacking_bytes=lacking_bytes,
        retry_after_seconds=SHORT_SECONDS,
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
