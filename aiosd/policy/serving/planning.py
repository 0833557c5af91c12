"""What is served and loaded next: one look over all who wait, the most urgent first."""

from collections.abc import Mapping

from aiosd.domain.errors import AiosdError
from aiosd.domain.expert import ExpertState
from aiosd.policy.memory.governor import Evict, Fits, Never, Room, Wait
from aiosd.policy.serving.effects import Effect, Refuse, Settle
from aiosd.policy.serving.queues import BACKGROUND_RANK
from aiosd.policy.serving.refusals import over_ram
from aiosd.policy.serving.residency import Residency
from aiosd.policy.serving.slots import Slot
from aiosd.policy.serving.turns import Turns
from aiosd.policy.serving.waiting import WaitingRoom


class Planner:
    """Looks at who waits, who is loaded and whose turn it is, whenever something has happened."""

    def __init__(
        self,
        slots: Mapping[str, Slot],
        waiting: WaitingRoom,
        residency: Residency,
        turns: Turns,
    ) -> None:
        """Look at these, which are the scheduler's."""
        self._slots = slots
        self._waiting = waiting
        self._residency = residency
        self._turns = turns

    def plan(self, now: float) -> list[Effect]:
        """Serve and load whatever can be, the most urgent and then longest-waiting first."""
        effects: list[Effect] = []
        held: set[str] = set()
        room: Room | None = None
        urgent = False
        for slot in self._waiting.slots():
            if self._waiting.holds(slot.facts.expert):
                continue
            if slot.state is ExpertState.READY:
                if slot.free and slot.facts.expert not in held:
                    effects += self._try_serve(slot, now, urgent=urgent)
                    if room and slot.serving:
                        room.on_served(slot.facts.expert)
            elif (
                slot.away and slot.facts.expert not in held and self._may_load(slot, urgent=urgent)
            ):
                room = room or self._residency.room(now)
                effects += self._try_load(slot, room, held, now)
                if slot.free and slot.queue:  # its worker comes back before it answers
                    effects += self._try_serve(slot, now, urgent=urgent)
                    if slot.serving:
                        room.on_served(slot.facts.expert)
            urgent = urgent or slot.queue.rank() < BACKGROUND_RANK
        return effects + self._turns.adjust(now)

    def _try_serve(self, slot: Slot, now: float, *, urgent: bool) -> list[Effect]:
        """Let an idle expert answer its next request, if that may begin."""
        effects: list[Effect] = []
        verdict = self._turns.verdict(slot, now, urgent=urgent)
        while isinstance(verdict, AiosdError):
            effects.append(Refuse(self._waiting.pop(slot).id, verdict))
            verdict = self._turns.verdict(slot, now, urgent=urgent)
        if verdict:
            slot.serving = self._waiting.pop(slot)
            effects.append(self._turns.begin(slot, slot.serving, now))
        return effects

    def _may_load(self, slot: Slot, *, urgent: bool) -> bool:
        """Tell whether a cold or parked expert may come back now, if there is room."""
        return self._turns.may_load(slot, urgent=urgent) and not self._residency.lacks(slot)

    def _try_load(self, slot: Slot, room: Room, held: set[str], now: float) -> list[Effect]:
        """Load a cold expert, or resume a parked one, if the governor lets it.

        Add to `held` who must not go on for it.
        """
        expert, oldest = slot.facts.expert, slot.queue.oldest()
        need = self._residency.need_bytes(slot)
        patient = oldest is not None and now < oldest + self._residency.gather_seconds
        parked = slot.state is ExpertState.PARKED
        own = self._residency.ledger.held(expert)
        verdict = room.admit(
            need + own,
            patient=patient,
            urgent=slot.queue.rank() < BACKGROUND_RANK,
            prefer=slot.waits_for,
            own=expert,
            own_bytes=own,
        )
        match verdict:
            case Fits():
                room.take(need)
                if parked:
                    return self._resume(slot, now)
                return [self._residency.load(slot, now)]
            case Evict(victims):
                room.claim(need, [each.expert for each in victims])
                return self._residency.evict(victims, f"room for {expert}", now)
            case Wait(names):
                if not (patient and names):
                    room.claim(need, names)
                    slot.waits_for = names
                    gather = self._residency.gather_seconds
                    held.update(n for n in names if not self._slots[n].fresh(gather, now))
                return []
            case Never():
                ledger = self._residency.ledger
                pinned = {name: ledger.held(name) for name in verdict.pinned}
                error = over_ram(slot, verdict.need_bytes, ledger, pinned)
                return self._waiting.refuse(slot, error)

    def _resume(self, slot: Slot, now: float) -> list[Effect]:
        """Let a parked expert come back, and tell the operator if that was asked for."""
        effects = self._residency.resume(slot, now)
        if slot.load_wanted:
            slot.load_wanted = False
            self._waiting.settle(slot)
            effects.append(Settle(slot.facts.expert, None))
        return effects
