"""Who is loaded, who is to leave, and what the books say of it.

The scheduler asks; nothing here knows of requests beyond what a slot says of them.
"""

from collections.abc import Iterable, Iterator

from aiosd.domain.expert import ExpertEvent, ExpertState
from aiosd.policy.effects import Effect, Load, Unload
from aiosd.policy.eviction import Candidate
from aiosd.policy.governor import Ledger, Resident, Room, overweight
from aiosd.policy.refusals import why_leaving
from aiosd.policy.slots import Slot


class Residency:
    """The slots that have a worker, beside the ledger of what they hold."""

    def __init__(self, ledger: Ledger, *, gather_seconds: float, grace_seconds: float) -> None:
        """Start with nobody loaded; a worker that was told to leave is killed after its grace."""
        self.ledger = ledger
        self.gather_seconds = gather_seconds
        self.grace_seconds = grace_seconds
        self.evictions = 0
        self._live: dict[str, Slot] = {}
        self._leaving: dict[str, Slot] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._live.values())

    @property
    def settled(self) -> bool:
        """Whether nobody has to leave: not because it was asked for, nor for want of room."""
        return not self._leaving and self.ledger.free_bytes >= 0

    def room(self, now: float) -> Room:
        """Return the books as a plan begins with them."""
        return Room(self.ledger, self._residents(now))

    def load(self, slot: Slot, now: float) -> Load:
        """Reserve what an expert needs and have its worker started."""
        need = slot.expected_bytes()
        self.ledger.set(slot.facts.expert, need)
        slot.kill_at = now + slot.facts.load_limit_seconds
        slot.on_load(now)
        slot.advance(ExpertEvent.LOAD)
        self._live[slot.facts.expert] = slot
        return Load(slot.facts.expert, need)

    def on_exited(self, slot: Slot, now: float) -> None:
        """Strike out a worker that is gone."""
        expert = slot.facts.expert
        slot.forget_worker()
        slot.left_at = now
        self._live.pop(expert, None)
        self._leaving.pop(expert, None)
        self.ledger.release(expert)

    def on_measured(self, slot: Slot, held_bytes: int, now: float) -> list[Effect]:
        """Take a measurement into the books; over the cap, idle experts leave.

        One that alone holds more than all may have is marked `oversize` and leaves itself.
        """
        expert = slot.facts.expert
        slot.on_measured(held_bytes)
        self.ledger.set(expert, held_bytes, slot.growth_bytes(held_bytes))
        if held_bytes > self.ledger.room_bytes:
            slot.oversize = True
            self.ask_to_leave(slot)
            return []
        return self.shrink(f"{expert} holds more than was estimated", now, spare=expert)

    def ask_to_leave(self, slot: Slot) -> None:
        """Let an expert go as soon as it is idle; the slot says why."""
        self._leaving[slot.facts.expert] = slot

    def shrink(self, why: str, now: float, *, spare: str = "") -> list[Effect]:
        """Let idle experts leave until the books are under the cap, as far as that goes."""
        if self.ledger.free_bytes >= 0:
            return []
        victims = overweight(self.ledger, self._residents(now), spare)
        return self.evict(victims, why, now)

    def evict(self, victims: Iterable[Candidate], why: str, now: float) -> list[Effect]:
        """Send these experts away."""
        effects: list[Effect] = []
        for victim in victims:
            self.evictions += 1
            effects += self.drain(self._live[victim.expert], f"evicted: {why}", now)
        return effects

    def drain(self, slot: Slot, why: str, now: float) -> list[Effect]:
        """Ask an idle worker to leave; it is killed if it does not."""
        slot.advance(ExpertEvent.DRAIN)
        slot.kill_at = now + self.grace_seconds
        return [Unload(slot.facts.expert, why)]

    def sweep(self, now: float) -> list[Effect]:
        """Let those leave whose leaving was asked for, once they are idle."""
        if not self._leaving:
            return []
        effects: list[Effect] = []
        for name in list(self._leaving):
            slot = self._live.get(name)
            if slot is None:
                del self._leaving[name]
            elif slot.state is ExpertState.READY and not slot.serving:
                why = why_leaving(slot)
                if why:
                    effects += self.drain(slot, why, now)
        return effects

    def _residents(self, now: float) -> list[Resident]:
        """Return every expert that holds RAM, as the governor sees them."""
        gather, books = self.gather_seconds, self.ledger
        return [
            slot.resident(books.held(name) + books.growth(name), gather, now)
            for name, slot in self._live.items()
        ]
