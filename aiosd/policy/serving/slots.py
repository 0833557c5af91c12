"""One expert as the scheduler sees it: its state, who waits for it, and what it is doing."""

import math
from dataclasses import dataclass, field

from aiosd.domain.expert import ExpertEvent, ExpertState, advance
from aiosd.domain.footprint import Footprint
from aiosd.policy.memory.eviction import Candidate, Step, Way
from aiosd.policy.memory.governor import Resident
from aiosd.policy.serving.queues import FairQueue, Ticket
from aiosd.policy.serving.restart import RestartBudget, RestartRules

DEFAULT_RELOAD_SECONDS = 0.1
# An expert that is loaded again so soon after it left (in times of its load) should have stayed.
_RETURN_LOADS = 10.0
# It then stays for so many times of its load, so that loading takes at most a third of the time.
_RESIDENCE_LOADS = 2.0
# A worker may still grow by so much after it was measured first, never beyond the estimate;
# once a release has answered so often, the most that it ever held is all that it will.
_GROWTH_SHARE = 0.08
SEASONED = 8
# A use counts half after so long.
_HALF_LIFE_SECONDS = 600.0
# Making a context again took 20 to 40 ms for 45 MB of it on x86-64; measured from the first time.
_CONTEXT_SECONDS = 0.03
# Until it was measured, getting the pages of a model back is taken to be this part of a load.
_PAGES_SHARE = 0.5
# Less than this is not worth a step of its own.
_LEAST_STEP_BYTES = 2**20


@dataclass(frozen=True)
class ExpertFacts:
    """What the catalogue says of an expert, as far as scheduling cares.

    `load_limit_seconds` is how long a load may take before it counts as failed, `threads` how many
    it can make use of. `planned` says that `need_bytes` is what the engine allocates, and not a
    bound: what a worker does not hold of it yet, any request may make it hold. `known` is what was
    measured of this release before. `shared_model` is the digest of a model that other experts use
    as well, of which `shared_bytes`, a part of the need, are mapped by all of them together.
    `context_bytes` and `mapped_bytes` are the parts of the need that parking gives back, until they
    are measured. After `park_after_seconds` without a request an expert that can be parked is;
    negative: never.
    """

    expert: str
    need_bytes: int
    keep_alive_seconds: float = 300.0
    load_limit_seconds: float = 60.0
    planned: bool = False
    known: Footprint | None = None
    shared_model: str = ""
    shared_bytes: int = 0
    threads: int = 1
    context_bytes: int = 0
    mapped_bytes: int = 0
    park_after_seconds: float = -1.0


@dataclass
class Slot:
    """The scheduler's notes about one expert; only the scheduler writes here.

    `ended` says that the request being served was ended already (cancelled, too late), and that
    only its worker has not let go of it. `stale`, `oversize` and `unload_wanted` say why the worker
    is to leave, `doomed` that it is being killed; they end with it. `waits_for` names those
    whose leaving this expert waits for. `reserved_bytes` were in the books when it began to load;
    the kernel was last told to hold it to `booked_bytes`. `parks` says that its worker can be
    parked, `lean` that a parked one gave back its pages too, `giving_bytes` what one that is being
    parked is expected to give back. `allowed_bytes` is what the operator says that this release
    needs, until it is measured.
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
    need_bytes: int = 0
    load_started: float = 0.0
    ready_at: float = 0.0
    idle_since: float = 0.0
    keep_alive_seconds: float = 0.0
    kill_at: float | None = None
    reload_seconds: float = DEFAULT_RELOAD_SECONDS
    came_seconds: float = DEFAULT_RELOAD_SECONDS
    parks: bool = False
    lean: bool = False
    context_bytes: int = 0
    mapped_bytes: int = 0
    giving_bytes: int = 0
    giving_context: bool = False
    context_seconds: float = _CONTEXT_SECONDS
    pages_seconds: float | None = None
    peak_bytes: int = 0
    allowed_bytes: int | None = None
    answers: int = 0
    left_at: float | None = None
    returned: bool = False
    uses: float = 0.0
    used_at: float = 0.0

    def __post_init__(self) -> None:
        """Start from the facts, with a full restart budget."""
        self.budget = RestartBudget(self.rules)
        self.keep_alive_seconds = self.facts.keep_alive_seconds
        self._recall()

    @property
    def estimate_bytes(self) -> int:
        """What it is reckoned to need before it is measured: as the operator says, or the facts."""
        return self.facts.need_bytes if self.allowed_bytes is None else self.allowed_bytes

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
        return self.state is ExpertState.READY and self.context_bytes >= _LEAST_STEP_BYTES

    @property
    def pages_bytes(self) -> int:
        """The mapped pages of its model; what else is mapped, libraries above all, stays."""
        own = not self.facts.shared_model  # else they are another's as well
        return min(self.mapped_bytes, self.facts.mapped_bytes) if own else 0

    def advance(self, event: ExpertEvent) -> None:
        """Change the state by the one table."""
        self.state = advance(self.state, event)

    def renew(self) -> None:
        """Become another release: its worker, if any, is to leave, and its past is another."""
        self.allowed_bytes = None
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
        self.allowed_bytes = size
        self.forget_measured()

    def forget_measured(self) -> None:
        """Strike out what was measured: it was of another engine, or the operator knows better."""
        self.need_bytes = self.estimate_bytes
        self.peak_bytes = self.answers = 0
        self.context_bytes, self.mapped_bytes = self.facts.context_bytes, self.facts.mapped_bytes
        self.context_seconds, self.pages_seconds = _CONTEXT_SECONDS, None

    def _recall(self) -> None:
        """Start from what was measured before, if anything was."""
        self.forget_measured()
        known = self.facts.known
        if known is not None:
            self.need_bytes = self.peak_bytes = known.peak_bytes
            self.answers, self.reload_seconds = known.answers, known.reload_seconds

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
            self.forget_measured()
        self.reload_seconds = self.came_seconds = max(now - self.load_started, 1e-3)
        self.ready_at = self.idle_since = now
        self.kill_at, self.parks = None, parks
        self.advance(ExpertEvent.LOADED)

    def on_park(self, *, pages: bool, now: float) -> None:
        """Note that it begins to give back its context, if it has one, and its pages if so said."""
        self.giving_context = self.state is ExpertState.READY
        self.giving_bytes = self.context_bytes if self.giving_context else 0
        if pages:
            self.giving_bytes += self.pages_bytes
            self.lean = True
        self.left_at = now
        self.advance(ExpertEvent.PARK)

    def on_parked(self, freed_bytes: int, mapped_bytes: int) -> None:
        """Take note of the private bytes that parking gave back, and of what is mapped still."""
        if self.giving_context:
            self.context_bytes = max(0, freed_bytes)
        if not self.lean:
            self.mapped_bytes = mapped_bytes
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

    def own_bytes(self, held_bytes: int, shared_bytes: int) -> int:
        """Return what it holds beside shared weights, of a measurement that may hold them or not.

        Alone it holds the weights as its own; as soon as another has them mapped, neither does.
        """
        if not shared_bytes:
            return held_bytes
        planned = max(0, self.estimate_bytes - shared_bytes)
        return max(held_bytes - shared_bytes, min(held_bytes, planned))

    def on_measured(self, held_bytes: int, mapped_bytes: int = 0) -> None:
        """Remember what was measured; of a stale worker it says nothing of the next release."""
        if not self.stale:
            self.mapped_bytes = mapped_bytes
            self.peak_bytes = max(self.peak_bytes, held_bytes)
            self.need_bytes = self.peak_bytes

    def on_outgrown(self, need_bytes: int) -> None:
        """Remember that the expert needs so much: it went over a limit below that."""
        if not self.stale:
            self.peak_bytes = self.need_bytes = max(self.peak_bytes, need_bytes)

    def on_use(self, now: float) -> None:
        """Count an answer."""
        self.answers += 1
        self.uses = self.frequency(now) + 1.0
        self.used_at = now

    def frequency(self, now: float) -> float:
        """Return how often it was used, a use of a while ago counting less."""
        return self.uses * math.exp2((self.used_at - now) / _HALF_LIFE_SECONDS)

    def expected_bytes(self) -> int:
        """Return the most it is expected to hold once it is loaded."""
        peak = self.peak_bytes
        if not peak:
            return self.need_bytes
        if self.facts.planned:
            return max(peak, self.estimate_bytes)
        if self.answers >= SEASONED:
            return peak
        return max(peak, min(self.estimate_bytes, int(peak * (1 + _GROWTH_SHARE))))

    def growth_bytes(self, held_bytes: int) -> int:
        """Return by how much it may still grow, now that it holds so much.

        As far as was planned; else a little: one that has given back much more than that is not
        expected to take it again.
        """
        if self.stale:
            return 0
        if self.facts.planned:
            return max(0, self.expected_bytes() - held_bytes)
        most = int(held_bytes * _GROWTH_SHARE)
        return max(0, min(self.expected_bytes() - held_bytes, most))

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
        )

    def ways(self, held_bytes: int) -> tuple[Way, ...]:
        """Return the steps short of leaving that it could take now, were it idle."""
        if not self.parks or self.lean:
            return ()
        ways = []
        freed, seconds = 0, 0.0
        if self.has_context:
            freed, seconds = self.context_bytes, self.context_seconds
            ways.append(Way(Step.CONTEXT, freed, seconds))
        if self.pages_bytes >= _LEAST_STEP_BYTES:
            freed, seconds = freed + self.pages_bytes, seconds + self._pages_seconds()
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
