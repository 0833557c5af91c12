"""Who is loaded, who is to leave, and what the books say of it.

The scheduler asks; nothing here knows of requests beyond what a slot says of them.
"""

from collections.abc import Iterable, Iterator

from aiosd.domain.expert import ExpertEvent, ExpertState
from aiosd.policy.effects import Effect, Load, Park, Resume, Unload
from aiosd.policy.eviction import Step, Victim
from aiosd.policy.governor import (
    Evict,
    Fits,
    Ledger,
    Never,
    Resident,
    Room,
    Wait,
    overweight,
)
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
        self.parkings = 0
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

    def need_bytes(self, slot: Slot) -> int:
        """Return what an expert will hold once it can answer."""
        return max(slot.expected_bytes(), self.ledger.held(slot.facts.expert))

    def admit(self, slot: Slot, room: Room, held: set[str], now: float) -> list[Effect] | Never:
        """Load a cold expert or resume a parked one, make room for it, or wait for room.

        Add to `held` who must not go on for it. What it never can have is the caller's to tell.
        """
        expert, oldest = slot.facts.expert, slot.queue.oldest()
        own, need = self.ledger.held(expert), self.need_bytes(slot)
        patient = oldest is not None and now < oldest + self.gather_seconds
        verdict = room.admit(
            need, patient=patient, prefer=slot.waits_for, own=expert, own_bytes=own
        )
        match verdict:
            case Fits():
                room.take(need - own)
                parked = slot.state is ExpertState.PARKED
                return [self.resume(slot, now) if parked else self.load(slot, now)]
            case Evict(victims):
                room.claim(need - own, [each.expert for each in victims])
                return self.evict(victims, f"room for {expert}", now)
            case Wait(names):
                if not (patient and names):
                    room.claim(need - own, names)
                    slot.waits_for = names
                    gather = self.gather_seconds
                    held.update(n for n in names if not self._live[n].fresh(gather, now))
                return []
            case Never():
                return verdict

    def load(self, slot: Slot, now: float) -> Load:
        """Reserve what an expert needs and have its worker started."""
        need = slot.expected_bytes()
        self.ledger.set(slot.facts.expert, need)
        slot.kill_at = now + slot.facts.load_limit_seconds
        slot.on_load(now, slot.reload_seconds)
        slot.advance(ExpertEvent.LOAD)
        self._live[slot.facts.expert] = slot
        return Load(slot.facts.expert, need)

    def resume(self, slot: Slot, now: float) -> Resume:
        """Reserve what a parked expert needs besides, and have its context made again."""
        expert = slot.facts.expert
        self.ledger.set(expert, self.need_bytes(slot), mapped=slot.mapped_bytes)
        slot.on_resume(now)
        return Resume(expert)

    def on_exited(self, slot: Slot, now: float) -> None:
        """Strike out a worker that is gone."""
        expert = slot.facts.expert
        slot.forget_worker()
        slot.left_at = now
        self._live.pop(expert, None)
        self._leaving.pop(expert, None)
        self.ledger.release(expert)

    def on_measured(
        self, slot: Slot, held_bytes: int, mapped_bytes: int, now: float
    ) -> list[Effect]:
        """Take a measurement into the books; over the cap, idle experts leave.

        One that alone holds more than all may have is marked `oversize` and leaves itself.
        """
        expert = slot.facts.expert
        slot.on_measured(held_bytes, mapped_bytes)
        self.ledger.set(expert, held_bytes, slot.growth_bytes(held_bytes), mapped_bytes)
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

    def evict(self, victims: Iterable[Victim], why: str, now: float) -> list[Effect]:
        """Send these experts away, or have them give back what they can do without."""
        effects: list[Effect] = []
        for victim in victims:
            slot = self._live[victim.expert]
            if victim.step is not Step.PROCESS:
                effects += self.park(slot, why, now, pages=victim.step is Step.PAGES)
                continue
            self.evictions += 1
            effects += self.drain(slot, f"evicted: {why}", now)
        return effects

    def park(self, slot: Slot, why: str, now: float, *, pages: bool = False) -> list[Effect]:
        """Have an idle worker that can be parked give back its context; it is killed if it hangs.

        With `pages` it also unmaps the pages of its model, which the page cache may keep.
        """
        self.parkings += 1
        slot.on_park(pages=pages, now=now)
        slot.kill_at = now + self.grace_seconds
        return [Park(slot.facts.expert, pages, why)]

    def on_parked(self, slot: Slot, held_bytes: int, mapped_bytes: int) -> None:
        """Take into the books what a parked worker holds."""
        expert, books = slot.facts.expert, self.ledger
        private = books.held(expert) - books.file_bytes(expert)
        slot.on_parked(private - (held_bytes - mapped_bytes), mapped_bytes)
        books.set(expert, held_bytes, mapped=mapped_bytes)

    def parkable(self, now: float) -> list[Slot]:
        """Return the idle experts that have a context to give back, the least often used first.

        For whoever must make room on the board itself: a context is memory that the kernel cannot
        take back on its own, unlike mapped pages.
        """
        found = [
            slot
            for slot in self._live.values()
            if slot.parks and slot.has_context and slot.idle and not (slot.wanted or slot.pinned)
        ]
        return sorted(found, key=lambda slot: slot.frequency(now))

    def rest(self, slot: Slot, now: float) -> list[Effect]:
        """Park an expert that has idled, or let it leave if it has idled for its keep-alive."""
        leave = slot.leaves_at()
        if leave is not None and leave <= now:
            return self.drain(slot, "idle", now)
        return self.park(slot, "idle", now)

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
            elif slot.idle:
                why = why_leaving(slot)
                if why:
                    effects += self.drain(slot, why, now)
        return effects

    def _residents(self, now: float) -> list[Resident]:
        """Return every expert that holds RAM, as the governor sees them."""
        gather, books = self.gather_seconds, self.ledger
        return [
            slot.resident(books.held(name), books.growth(name), gather, now)
            for name, slot in self._live.items()
        ]
