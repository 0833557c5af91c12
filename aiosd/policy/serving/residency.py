"""Who is loaded, who is to leave, and what the books say of it.

The scheduler asks; nothing here knows of requests beyond what a slot says of them.
"""

from collections.abc import Iterable, Iterator

from aiosd.domain.errors import OverRamError
from aiosd.domain.expert import ExpertEvent, ExpertState
from aiosd.policy.memory.allotment import outgrown_need
from aiosd.policy.memory.eviction import Candidate, Step, Victim, choose
from aiosd.policy.memory.governor import (
    Ledger,
    Resident,
    Room,
    overweight,
)
from aiosd.policy.memory.pressure import relief, unwanted
from aiosd.policy.serving.effects import Effect, Kill, Limit, Load, Park, Refuse, Resume, Unload
from aiosd.policy.serving.refusals import machine_full, overgrown, why_leaving
from aiosd.policy.serving.slots import Slot

# What a process holds is never twice the same; nobody is ended for less.
_WOBBLE_BYTES = 2**20


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
        self._lacking: set[str] = set()

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._live.values())

    @property
    def settled(self) -> bool:
        """Whether nobody has to leave: not because it was asked for, nor for want of room."""
        return not self._leaving and self.ledger.free_bytes >= 0

    @property
    def loading_bytes(self) -> int:
        """What is reserved for experts that load, and may not be taken yet."""
        books = self.ledger
        return sum(
            slot.reserved_bytes - books.whole(name) + books.held(name)
            for name, slot in self._live.items()
            if slot.state is ExpertState.LOADING
        )

    def watched(self) -> list[tuple[str, int]]:
        """Return who answers or loads, with the bytes in the books: they may grow meanwhile."""
        books = self.ledger
        return [
            (name, books.held(name) + books.growth(name))
            for name, slot in self._live.items()
            if (slot.serving or slot.state is ExpertState.LOADING) and not slot.doomed
        ]

    def room(self, now: float) -> Room:
        """Return the books as a plan begins with them."""
        return Room(self.ledger, self._residents(now))

    def need_bytes(self, slot: Slot) -> int:
        """Return what more an expert needs until it can answer.

        Not the weights that another has mapped already, and of a parked one not what it holds.
        """
        facts, books = slot.facts, self.ledger
        if slot.state is ExpertState.PARKED:
            return max(0, slot.appetite.expected_bytes() - books.whole(facts.expert))
        there = facts.shared_bytes if books.mapped(facts.shared_model) else 0
        return max(0, slot.appetite.expected_bytes() - there)

    def lacks_for_both(self, one: Slot, other: Slot) -> int:
        """Return the bytes that two experts lack beside each other though all others leave who can.

        0 where they fit, whoever is loaded now.
        """
        books, names = self.ledger, (one.facts.expert, other.facts.expert)
        need = one.appetite.expected_bytes() + other.appetite.expected_bytes() + books.spare_bytes
        if one.facts.shared_model and one.facts.shared_model == other.facts.shared_model:
            need -= min(one.facts.shared_bytes, other.facts.shared_bytes)
        pinned = [
            books.held(name)
            for name, slot in self._live.items()
            if slot.pinned and name not in names
        ]
        return max(0, need + sum(pinned) - books.room_bytes)

    def load(self, slot: Slot, now: float) -> Load:
        """Reserve what an expert needs and have its worker started."""
        need, facts = slot.appetite.expected_bytes(), slot.facts
        self.ledger.set(facts.expert, max(0, need - facts.shared_bytes))
        if facts.shared_model:
            self.ledger.share(facts.expert, facts.shared_model, facts.shared_bytes)
        slot.reserved_bytes = slot.booked_bytes = need
        slot.kill_at = now + slot.facts.load_limit_seconds
        slot.on_load(now, slot.reload_seconds)
        slot.advance(ExpertEvent.LOAD)
        self._live[slot.facts.expert] = slot
        return Load(slot.facts.expert, need)

    def resume(self, slot: Slot, now: float) -> list[Effect]:
        """Reserve what a parked expert needs besides, and have its context made again."""
        expert = slot.facts.expert
        own = self.ledger.own(expert) + self.need_bytes(slot)
        self.ledger.set(expert, own, mapped=slot.appetite.mapped_bytes)
        slot.on_resume(now)
        return [*self._limit(slot), Resume(expert)]

    def on_exited(self, slot: Slot, outgrown_bytes: int, now: float) -> None:
        """Strike out a worker that is gone.

        Unless that is 0, the kernel ended it for going over a limit of so many bytes.
        """
        expert = slot.facts.expert
        if slot.state is not ExpertState.LOADING or expert not in self._lacking:
            slot.left_at = now
            self._lacking.clear()  # there may be memory now
        if outgrown_bytes:
            slot.on_outgrown(outgrown_need(outgrown_bytes, self.ledger.room_bytes))
        slot.forget_worker()
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
        shared = self.ledger.shared(expert)
        own_bytes = slot.appetite.own_bytes(held_bytes, shared)
        held_bytes = own_bytes + shared
        slot.on_measured(held_bytes, mapped_bytes)
        self.ledger.set(expert, own_bytes, slot.growth_bytes(held_bytes), mapped_bytes)
        effects = self._limit(slot)
        if held_bytes > self.ledger.room_bytes:
            slot.oversize = True
            self.ask_to_leave(slot)
            return effects
        return effects + self.shrink(f"{expert} holds more than was estimated", now, spare=expert)

    def on_growth(self, slot: Slot, held_bytes: int, now: float) -> list[Effect]:
        """Take into the books what a worker holds that answers or loads.

        Over the cap idle experts leave; where that is not enough, who grew most is ended.
        """
        if slot.doomed:
            return []
        return self._grown(slot, held_bytes, now) + self._end_worst()

    def _grown(self, slot: Slot, held_bytes: int, now: float) -> list[Effect]:
        """Take what a busy worker holds into the books; idle experts leave for it."""
        if slot.state is ExpertState.READY:
            return self.on_measured(slot, held_bytes, slot.appetite.mapped_bytes, now)
        expert, books = slot.facts.expert, self.ledger
        own_bytes = slot.appetite.own_bytes(held_bytes, books.shared(expert))
        slot.on_measured(own_bytes + books.shared(expert), slot.appetite.mapped_bytes)
        books.set(expert, max(own_bytes, books.own(expert)))
        effects = self._limit(slot)
        return effects + self.shrink(f"{expert} takes more than was estimated", now, spare=expert)

    def _end_worst(self) -> list[Effect]:
        """End the one that has grown most, if all together are over the cap for good."""
        slot = self._worst()
        if slot is None:
            return []
        slot.doomed, slot.kill_at = True, None
        expert, effects = slot.facts.expert, list[Effect]()
        error = overgrown(slot, self.ledger.held(expert), self.ledger)
        if slot.serving and not slot.ended:
            slot.ended = True
            effects.append(Refuse(slot.serving.id, error))
        return [*effects, Kill(expert, error.message)]

    def _worst(self) -> Slot | None:
        """Return who must end because all together are over the cap and leaving is not enough.

        That is the busy one that is furthest over what was reserved for it. While nobody is over
        its own (the cap was lowered), all may finish what they do.
        """
        held = self.ledger.held
        gone = [slot for slot in self if slot.doomed or slot.state is ExpertState.DRAINING]
        coming = sum(held(slot.facts.expert) for slot in gone)
        coming += sum(each.giving_bytes for each in self if each.state is ExpertState.PARKING)
        if self.ledger.free_bytes + coming >= -_WOBBLE_BYTES:
            return None
        over = {
            slot.facts.expert: self.ledger.whole(slot.facts.expert) - slot.reserved_bytes
            for slot in self
            if slot not in gone
        }
        name = max(over, key=lambda each: (over[each], each), default=None)
        return self._live[name] if name is not None and over[name] > 0 else None

    def relieve(self, why: str, now: float) -> list[Effect]:
        """Let idle experts go, few at a time: the machine is short of memory."""
        return self.evict(relief(self._residents(now)), why, now)

    def lacks(self, slot: Slot) -> bool:
        """Tell whether the machine had no memory for an expert, and nobody has left since."""
        return slot.facts.expert in self._lacking

    def try_again(self, slot: Slot) -> None:
        """Let an expert be loaded though the machine had no memory for it a while ago."""
        self._lacking.discard(slot.facts.expert)

    def make_way(self, slot: Slot, need_bytes: int, now: float) -> list[Effect] | OverRamError:
        """Let idle experts go until the machine has so many bytes more for a load.

        The error if they are not enough. Either way it is not begun before somebody has left.
        """
        self._lacking.add(slot.facts.expert)
        residents = self._residents(now)
        held = self.ledger.held
        coming = sum(held(each.candidate.expert) for each in residents if each.leaving)
        if coming >= need_bytes:
            return []
        idle = [
            # Only what is gone for good counts here: the kernel sees mapped pages as free already.
            Candidate(each.expert, held(each.expert), each.reload_seconds, each.frequency)
            for each in unwanted(residents)
        ]
        victims = choose(idle, need_bytes - coming)
        why = f"the machine lacks RAM for {slot.facts.expert}"
        if victims is None:
            return machine_full(slot, held(slot.facts.expert), need_bytes)
        return self.evict(victims, why, now)

    def ask_to_leave(self, slot: Slot) -> None:
        """Let an expert go as soon as it is idle; the slot says why."""
        self._leaving[slot.facts.expert] = slot

    def shrink(self, why: str, now: float, *, spare: str = "") -> list[Effect]:
        """Let idle experts leave until the books are under the cap, as far as that goes."""
        if self.ledger.free_bytes >= 0:
            return []
        self.ledger.on_overweight()
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
        held_bytes = slot.appetite.own_bytes(held_bytes, books.shared(expert))
        private = books.own(expert) - books.file_bytes(expert)
        slot.on_parked(private - (held_bytes - mapped_bytes), mapped_bytes)
        self._lacking.clear()  # there may be memory now
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

    def _limit(self, slot: Slot) -> list[Effect]:
        """Tell the kernel when the books give an expert more, or what it had at first again.

        What was reserved for it stays its own as long as it lives, though it holds less now: an
        answer may take all of it.
        """
        expert = slot.facts.expert
        # Pages of shared weights are charged to whoever touched them first.
        booked = max(slot.reserved_bytes, self.ledger.whole(expert) + self.ledger.growth(expert))
        if booked == slot.booked_bytes:
            return []
        slot.booked_bytes = booked
        return [Limit(expert, booked)]

    def _residents(self, now: float) -> list[Resident]:
        """Return every expert that holds RAM, as the governor sees them."""
        gather, books = self.gather_seconds, self.ledger
        return [
            slot.resident(books.held(name), books.growth(name), gather, now)
            for name, slot in self._live.items()
        ]
