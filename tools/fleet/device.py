"""One simulated board: the real rollout policy and the real percentile over invented requests."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from aiosd.domain.rollout import Report, Rollout, State
from aiosd.policy.rollout.events import (
    Answered,
    Checked,
    Collected,
    Diverted,
    DoActivate,
    DoCheck,
    DoCollect,
    DoDivert,
    DoFetch,
    DoProbe,
    DoReturn,
    DoStage,
    DoWatch,
    Drained,
    Effect,
    Event,
    Expired,
    Failed,
    Fault,
    Fetch,
    Lived,
    Probed,
    Probing,
    Staged,
    Verified,
)
from aiosd.policy.rollout.percentile import reached
from aiosd.policy.rollout.rules import TRIAL_SECONDS
from aiosd.policy.rollout.table import advance, plan

At = Callable[[float, Callable[[], None]], None]


@dataclass(frozen=True)
class Quality:
    """What a release is like: whether self-tests find it out, and which share of answers fails."""

    self_test_fails: bool = False
    answers_fail: float = 0.0


@dataclass
class Tally:
    """What happened to the fleet, all together."""

    requests: int = 0
    failed_requests: int = 0
    rescued_requests: int = 0
    probes: int = 0
    committed: int = 0
    quarantined: int = 0
    fetched_bytes: int = 0
    polls: int = 0


class Device:
    """A board with one expert; `at` calls something after so many seconds."""

    def __init__(
        self, name: str, chance: random.Random, at: At, clock: Callable[[], float], tally: Tally
    ) -> None:
        """Start with release 1, and a mean rate of requests of its own."""
        self.name = name
        self.active = 1
        self.row: Rollout | None = None
        self.quarantined: set[int] = set()
        # Requests an hour: a few boards are asked a lot, most are not.
        self.requests_per_hour = chance.lognormvariate(3.0, 1.0)
        self.bytes_per_second = chance.lognormvariate(13.5, 0.8)
        self._chance = chance
        self._at = at
        self._clock = clock
        self._tally = tally
        self._quality: dict[int, Quality] = {}
        self._bytes = 0

    def poll(self, release: int, percent: float, quality: Quality, blob_bytes: int) -> None:
        """Look at what is offered, as aiosd-update does, and take it if it is for this board."""
        self._tally.polls += 1
        self._quality[release] = quality
        if release <= self.active or release in self.quarantined:
            return
        if not reached(self.name, "one", release, percent):
            return
        if self.row is not None and not self.row.ended:
            return
        self._bytes = blob_bytes
        self.row = plan("one", release, "0" * 64, self.active, self._clock())
        self._do([DoFetch()])

    def _tell(self, event: Event) -> None:
        """Give an event to the policy, and carry out what follows."""
        if self.row is None:
            return
        before = self.row.state
        self.row, effects = advance(self.row, event, self._clock())
        row = self.row
        if row.state is State.QUARANTINED and before is not State.QUARANTINED:
            self.quarantined.add(row.release)
            self._tally.quarantined += 1
        if row.state is State.COMMITTED and before is not State.COMMITTED:
            self._tally.committed += 1
        if row.state is not before and row.deadline:
            state, since = row.state, row.since
            self._at(row.deadline - self._clock() + 1.0, lambda: self._expire(state, since))
        self._do(effects)

    def _expire(self, state: State, since: float) -> None:
        if self.row is not None and (self.row.state, self.row.since) == (state, since):
            self._tell(Expired())

    def _do(self, effects: list[Effect]) -> None:
        """Carry effects out, each in the time that it takes on a board."""
        for effect in effects:
            match effect:
                case DoFetch(after):
                    self._at(after, self._fetch)
                case DoStage():
                    self._at(1.0, lambda: self._tell(Staged()))
                case DoProbe(after):
                    self._at(after + 5.0, self._probe)
                case _:
                    self._swap(effect)

    def _swap(self, effect: Effect) -> None:
        """Carry out what belongs to the swap itself."""
        match effect:
            case DoDivert():
                self._tell(Diverted())
                self._at(self._gap(), self._request)
            case DoCheck():
                self._at(3.0, self._check)
            case DoActivate(release):
                self.active = release
                self._at(2.0, lambda: self._tell(Drained()))
            case DoReturn(_, old):
                self.active = old
            case DoCollect():
                self._at(1.0, lambda: self._tell(Collected()))
            case DoWatch():
                self._at(TRIAL_SECONDS, lambda: self._tell(Lived()))
            case _:
                pass

    def _fetch(self) -> None:
        """Fetch; one in fifty times the connection fails for good, until the next poll."""
        self._tell(Fetch())
        seconds = self._bytes / self.bytes_per_second
        if self._chance.random() < 0.02:
            self._at(seconds / 2, lambda: self._tell(Failed("broken_off", Fault.WORLD)))
            return
        self._tally.fetched_bytes += self._bytes
        self._at(seconds, lambda: self._tell(Verified()))

    def _probe(self) -> None:
        if self.row is None or self.row.state is not State.STAGED:
            return
        self._tally.probes += 1
        self._tell(Probing())
        if self._of(self.row.release).self_test_fails:
            self._at(5.0, lambda: self._tell(Failed("self-test: 2 of 8 cases failed")))
        else:
            self._at(5.0, lambda: self._tell(Probed(Report(passed=8, cases=8))))

    def _check(self) -> None:
        """The self-tests again: what they cannot see once they do not see twice."""
        self._tell(Checked())

    def _request(self) -> None:
        """A request to a canary; one that it fails is answered by the old release."""
        row = self.row
        if row is None or row.state is not State.CANARY or row.checking:
            return
        good = self._chance.random() >= self._of(row.release).answers_fail
        self._tally.requests += 1
        self._tally.rescued_requests += not good
        self._tell(Answered(good))
        self._at(self._gap(), self._request)

    def serve(self, seconds: float) -> None:
        """Count what a committed release that is bad does to requests over some time."""
        quality = self._of(self.active)
        count = self.requests_per_hour * seconds / 3600.0
        self._tally.failed_requests += round(count * quality.answers_fail)

    def _gap(self) -> float:
        return self._chance.expovariate(self.requests_per_hour / 3600.0)

    def _of(self, release: int) -> Quality:
        return self._quality.get(release, Quality())
