"""Which measurements are worth writing down: SD cards wear, and most news is small."""

from aiosd.domain.footprint import Footprint
from aiosd.policy.serving.appetite import SEASONED
from aiosd.policy.serving.slots import Slot

# A peak that is this much off is one that admission would act on.
_PEAK_SHARE = 0.02
# The cost of a reload decides who is evicted; it is noisy, and a third more or less says little.
_RELOAD_SHARE = 0.5


def footprint_of(slot: Slot, engine: str) -> Footprint | None:
    """Return what is known of a release by now; None if nothing was measured yet.

    Answers are counted only as far as they matter.
    """
    if not slot.appetite.peak_bytes or slot.stale:
        return None
    return Footprint(
        engine=engine,
        peak_bytes=slot.appetite.peak_bytes,
        answers=min(slot.appetite.answers, SEASONED),
        reload_seconds=slot.reload_seconds,
    )


def worth_writing(kept: Footprint | None, found: Footprint) -> bool:
    """Tell whether a start with `kept` would go differently from one with `found`."""
    if kept is None or kept.engine != found.engine:
        return True
    if abs(found.peak_bytes - kept.peak_bytes) > _PEAK_SHARE * kept.peak_bytes:
        return True
    if (found.answers >= SEASONED) != (kept.answers >= SEASONED):
        return True
    ratio = found.reload_seconds / kept.reload_seconds
    return not 1 - _RELOAD_SHARE <= ratio <= 1 + _RELOAD_SHARE
