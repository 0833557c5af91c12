"""One expert as the scheduler sees it: its state, who waits for it, and what it is doing."""

import math
from dataclasses import dataclass, field

from aiosd.domain.expert import ExpertEvent, ExpertState, advance
from aiosd.policy.memory.eviction import Candidate, Step, Way
from aiosd.policy.memory.governor import Resident
from aiosd.policy.serving.appetite import Appetite
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.queues import BACKGROUND_RANK, FairQueue, Ticket
from aiosd.policy.serving.restart import RestartBudget, RestartRules

DEFAULT_RELOAD_SECONDS = 0.1
# An expert that is loaded again so soon after it left (in times of its load) should have stayed.
_RETURN_LOADS = 10.0
# It then stays for so many times of its load, so that loading takes at most a third of the time.
_RESIDENCE_LOADS = 2.0
# A use counts half after so long.
_HALF_LIFE_SECONDS = 600.0
# Making a context again took 20 to 40 ms for 45 MB of it on x86-64; measured from the first time.
_CONTEXT_SECONDS = 0.03
# Until it was measured, getting the pages of a model back is taken to be this part of a load.
_PAGES_SHARE = 0.5
# Less than this is not worth a step of its own.
_LEAST_STEP_BYTES = 2**20


@dataclass
class Slot:
    """The scheduler's notes about one expert; only the scheduler writes here.

    `ended` says that the request being served was ended already (cancelled, too late), and that
    only its worker has not let go of it. `stale`, `oversize` and `unload_wanted` say why the worker
    is to leave, `doomed` that it is being killed; they end with it. `waits_for` names those
    whose leaving this expert waits for. `reserved_bytes` were in the books when it began to load;
    the kernel was last told to hold it to `booked_bytes`. `parks` says that its worker can be
    parked, `lean` that a parked one gave back its pages too, `giving_bytes` what one that is being
    parked is expected to give back.
    """

    facts: ExpertFacts
    rules: RestartRules
    state: ExpertState = ExpertState.COLD
    queue: FairQueue = field(default_factory=FairQueue)
    serving: Ticket | None = None
    ended: bool = False
    pinned: bool = False
    load_wanted: bool = False
    unload_wanted: bool = False
    stale: bool = False
    oversize: bool = False
    doomed: bool = False
    reserved_bytes: int = 0
    booked_bytes: int = 0
    waits_for: tuple[str, ...] = ()
    removed: bool = False
    load_started: float = 0.0
    ready_at: float = 0.0
    idle_since: float = 0.0
    keep_alive_seconds: float = 0.0
    kill_at: float | None = None
    reload_seconds: float = DEFAULT_RELOAD_SECONDS
    came_seconds: float = DEFAULT_RELOAD_SECONDS
    parks: bool = False
    lean: bool = False
    giving_bytes: int = 0
    giving_context: bool = False
    context_seconds: float = _CONTEXT_SECONDS
    pages_seconds: float | None = None
    left_at: float | None = None
    returned: bool = False
    uses: float = 0.0
    used_at: float = 0.0

    def __post_init__(self) -> None:
        """Start from the facts, with a full restart budget."""
        self.budget = RestartBudget(self.rules)
        self.keep_alive_seconds = self.facts.keep_alive_seconds
        self.appetite = Appetite(self.facts)
        self._recall()

    @property
    def loaded(self) -> bool:
        """Whether a worker process exists (or is coming up, or going down)."""
        return self.state not in (ExpertState.COLD, ExpertState.FAILED)

    @property
    def idle(self) -> bool:
        """Whether its worker has nothing to do and may be told to leave."""
        waits = self.state in (ExpertState.READY, ExpertState.PARKED)
        return waits and self.serving is None and not self.doomed

    @property
    def free(self) -> bool:
        """Whether its worker can take a request now."""
        if self.serving is not None or self.state is not ExpertState.READY:
            return False
        return not (self.stale or self.doomed)

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it: a request, or the operator."""
        return self.load_wanted or len(self.queue) > 0

    @property
    def away(self) -> bool:
        """Whether room must be found before it can answer: for all of it, or for its context."""
        return not self.doomed and self.state in (ExpertState.COLD, ExpertState.PARKED)

    @property
    def has_context(self) -> bool:
        """Whether it holds a context whose bytes are worth giving back."""
        return self.state is ExpertState.READY and self.appetite.context_bytes >= _LEAST_STEP_BYTES

    def advance(self, event: ExpertEvent) -> None:
        """Change the state by the one table."""
        self.state = advance(self.state, event)

    def on_facts(self, facts: ExpertFacts) -> None:
        """Go by other facts from now on."""
        self.facts = self.appetite.facts = facts

    def renew(self) -> None:
        """Become another release: its worker, if any, is to leave, and its past is another."""
        self.appetite.recall()
        self._recall()
        self.budget.forgive()
        self.stale = self.loaded
        if self.state is ExpertState.FAILED:
            self.advance(ExpertEvent.RETRY)

    def on_failure(self, reason: str, now: float) -> bool:
        """Take note of a failed load or a crash; return whether it rests now."""
        if self.state is ExpertState.LOADING:
            self.budget.on_load_failed(reason, now)
        else:
            self.budget.on_crash(reason, now)
            if not self.budget.rest_seconds(now):
                self.advance(ExpertEvent.EXITED)
                return False
        self.advance(ExpertEvent.GAVE_UP)
        return True

    def allow(self, size: int) -> None:
        """Take the operator's word for what it needs, until it is measured again."""
        self.appetite.allow(size)
        self._forget_times()

    def _forget_times(self) -> None:
        """Strike out how long it was measured to take to come back from being parked."""
        self.context_seconds, self.pages_seconds = _CONTEXT_SECONDS, None

    def _recall(self) -> None:
        """Start from the times that were measured before, if any were."""
        self._forget_times()
        if self.facts.known is not None:
            self.reload_seconds = self.facts.known.reload_seconds

    def forget_worker(self) -> None:
        """Strike out what was noted about a worker that is gone."""
        self.serving, self.kill_at = None, None
        self.ended = self.stale = self.oversize = self.unload_wanted = self.doomed = False
        self.parks = self.lean = False

    def on_load(self, now: float, seconds: float) -> None:
        """Note that it begins to come back, which takes so long, and whether it had only just left.

        That is a load, or what a parked one needs for its context.
        """
        self.load_started = now
        self.waits_for = ()
        self.came_seconds = seconds
        soon = _RETURN_LOADS * seconds
        self.returned = self.left_at is not None and now - self.left_at < soon

    def on_loaded(self, now: float, *, parks: bool, known: bool) -> None:
        """Note that its load is over, and whether it can be parked; see `Scheduler.on_loaded`."""
        if not known:
            self.appetite.forget_measured()
            self._forget_times()
        self.reload_seconds = self.came_seconds = max(now - self.load_started, 1e-3)
        self.ready_at = self.idle_since = now
        self.kill_at, self.parks = None, parks
        self.advance(ExpertEvent.LOADED)

    def on_park(self, *, pages: bool, now: float) -> None:
        """Note that it begins to give back its context, if it has one, and its pages if so said."""
        self.giving_context = self.state is ExpertState.READY
        self.giving_bytes = self.appetite.context_bytes if self.giving_context else 0
        if pages:
            self.giving_bytes += self.appetite.pages_bytes
            self.lean = True
        self.left_at = now
        self.advance(ExpertEvent.PARK)

    def on_parked(self, freed_bytes: int, mapped_bytes: int) -> None:
        """Take note of the private bytes that parking gave back, and of what is mapped still."""
        if self.giving_context:
            self.appetite.context_bytes = max(0, freed_bytes)
        if not self.lean:
            self.appetite.mapped_bytes = mapped_bytes
        self.kill_at = None
        self.advance(ExpertEvent.PARKED)

    def on_resume(self, now: float) -> None:
        """Note that it comes back; its worker is ready for orders, and makes its context first."""
        self.on_load(now, self.resume_seconds())
        self.ready_at = self.idle_since = now
        self.lean = False
        self.advance(ExpertEvent.RESUME)

    def on_resumed(self, context_seconds: float, pages_seconds: float | None) -> None:
        """Remember what coming back took; the pages are None where they had been kept."""
        self.context_seconds = context_seconds
        if pages_seconds is not None:
            self.pages_seconds = pages_seconds

    def resume_seconds(self) -> float:
        """Return what coming back costs a parked expert."""
        return self.context_seconds + (self._pages_seconds() if self.lean else 0.0)

    def _pages_seconds(self) -> float:
        """Return what getting the pages of its model back costs."""
        known = self.pages_seconds
        return _PAGES_SHARE * self.reload_seconds if known is None else known

    def on_measured(self, held_bytes: int, mapped_bytes: int = 0) -> None:
        """Remember what was measured; of a stale worker it says nothing of the next release."""
        if not self.stale:
            self.appetite.on_measured(held_bytes, mapped_bytes)

    def on_outgrown(self, need_bytes: int) -> None:
        """Remember that the expert needs so much: it went over a limit below that."""
        if not self.stale:
            self.appetite.on_outgrown(need_bytes)

    def growth_bytes(self, held_bytes: int) -> int:
        """Return by how much its worker may still grow; a stale one is to leave."""
        return 0 if self.stale else self.appetite.growth_bytes(held_bytes)

    def on_use(self, now: float) -> None:
        """Count an answer."""
        self.appetite.answers += 1
        self.uses = self.frequency(now) + 1.0
        self.used_at = now

    def frequency(self, now: float) -> float:
        """Return how often it was used, a use of a while ago counting less."""
        return self.uses * math.exp2((self.used_at - now) / _HALF_LIFE_SECONDS)

    def fresh_until(self, gather_seconds: float) -> float:
        """Return until when it is spared for those who wait for it: as long as its load took.

        Without that, experts of which only one fits would be loaded anew for every request. One
        that had only just left stays longer, and for those who have not asked yet.
        """
        loads = _RESIDENCE_LOADS if self.returned else 1.0
        return self.ready_at + max(gather_seconds, loads * self.came_seconds)

    def fresh(self, gather_seconds: float, now: float) -> bool:
        """Tell whether it is spared now."""
        wanted = self.state is ExpertState.READY and (self.wanted or self.returned)
        return wanted and not self.stale and now < self.fresh_until(gather_seconds)

    def resident(
        self, held_bytes: int, growth_bytes: int, gather_seconds: float, now: float
    ) -> Resident:
        """Return how the governor sees it: what it holds, and what it is promised for growth."""
        state = self.state
        size = held_bytes + growth_bytes
        parking = state is ExpertState.PARKING
        if parking:
            size = min(self.giving_bytes, held_bytes)
        back = self.resume_seconds() if state is ExpertState.PARKED else 0.0
        return Resident(
            Candidate(
                self.facts.expert,
                size,
                self.reload_seconds - back,
                self.frequency(now),
                self.ways(held_bytes),
            ),
            busy=self.serving is not None or state is ExpertState.LOADING,
            pinned=self.pinned,
            leaving=self.doomed or parking or state is ExpertState.DRAINING,
            wanted=self.wanted and not self.stale,
            fresh=self.fresh(gather_seconds, now),
            background=self.queue.rank() == BACKGROUND_RANK
            and not (self.load_wanted or self.returned),
        )

    def ways(self, held_bytes: int) -> tuple[Way, ...]:
        """Return the steps short of leaving that it could take now, were it idle."""
        if not self.parks or self.lean:
            return ()
        ways = []
        freed, seconds = 0, 0.0
        if self.has_context:
            freed, seconds = self.appetite.context_bytes, self.context_seconds
            ways.append(Way(Step.CONTEXT, freed, seconds))
        if self.appetite.pages_bytes >= _LEAST_STEP_BYTES:
            freed, seconds = freed + self.appetite.pages_bytes, seconds + self._pages_seconds()
            ways.append(Way(Step.PAGES, freed, seconds))
        return tuple(each for each in ways if each.bytes < held_bytes)

    def idle_until(self) -> float | None:
        """Return when it is to be parked or unloaded for want of work, or None."""
        if self.serving or self.pinned or self.load_wanted or len(self.queue):
            return None
        if self.doomed or self.state not in (ExpertState.READY, ExpertState.PARKED):
            return None
        leave, park = self.leaves_at(), self.facts.park_after_seconds
        if park < 0 or not (self.parks and self.has_context):
            return leave
        parks_at = self.idle_since + park
        return parks_at if leave is None or parks_at < leave else leave

    def leaves_at(self) -> float | None:
        """Return when its keep-alive ends if nobody asks, or None."""
        keep = self.keep_alive_seconds
        return self.idle_since + keep if keep >= 0 else None
