"""A fleet of boards and one publisher in simulated time."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from aiosd.domain.rollout import State
from tools.fleet.device import Device, Quality, Tally
from tools.fleet.publisher import Plan, Rollout

HOUR = 3600.0
DAY = 86_400.0
POLL_SECONDS = 6 * HOUR
# timestamp, snapshot, targets and a publisher's role, compressed by nobody.
METADATA_BYTES = 6_000
METADATA_REQUESTS = 3


@dataclass(frozen=True)
class Release:
    """One act of the play: when it comes, what it is like, how large its difference is."""

    number: int
    day: float
    quality: Quality
    blob_bytes: int = 20_000_000


PLAY = (
    Release(2, 0.0, Quality()),
    Release(3, 7.0, Quality(answers_fail=0.15)),
    Release(4, 10.0, Quality(self_test_fails=True)),
    Release(5, 12.0, Quality()),
)


@dataclass
class Sample:
    """The fleet at one hour."""

    at: float
    active: Counter[int]
    canaries: int
    percent: int
    requests: int
    sent_bytes: int


@dataclass
class Run:
    """What came out."""

    samples: list[Sample] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    rollouts: list[Rollout] = field(default_factory=list)
    tried: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    most_polls_per_minute: int = 0


class World:
    """Boards, a clock and a publisher."""

    def __init__(self, devices: int, seed: int, *, hears: bool, plan: Plan) -> None:
        """Make a fleet; `hears` is whether the publisher learns of failures."""
        self.now = 0.0
        self.run = Run()
        self._hears = hears
        self._plan = plan
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        chance = random.Random(seed)
        self.devices = [
            Device(
                f"board-{number:05}",
                random.Random(chance.random()),
                self._at,
                lambda: self.now,
                self.run.tally,
            )
            for number in range(devices)
        ]
        for device in self.devices:
            # systemd's RandomizedDelaySec with FixedRandomDelay: a minute of its own for each.
            self._at(chance.random() * POLL_SECONDS, self._poller(device))
        self._polls: Counter[int] = Counter()
        self._current: tuple[Release, Rollout] | None = None
        self._sent = self._asked = self._fetched = 0

    def play(self, acts: tuple[Release, ...], days: float) -> Run:
        """Let releases come and time pass."""
        for act in acts:
            self._at(act.day * DAY, partial(self._publish, act))
        self._at(0.0, self._hour)
        while self._queue and self._queue[0][0] <= days * DAY:
            self.now, _, act_now = heapq.heappop(self._queue)
            act_now()
        self.run.most_polls_per_minute = max(self._polls.values(), default=0)
        return self.run

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + max(0.0, seconds), next(self._order), act))

    def _publish(self, release: Release) -> None:
        rollout = Rollout(release.number, self.now, self._plan)
        self.run.rollouts.append(rollout)
        self._current = release, rollout

    def _poller(self, device: Device) -> Callable[[], None]:
        def poll() -> None:
            self._at(POLL_SECONDS, poll)
            self._polls[int(self.now // 60)] += 1
            self._sent += METADATA_BYTES
            self._asked += METADATA_REQUESTS
            if self._current is None:
                return
            release, rollout = self._current
            device.poll(release.number, rollout.percent(), release.quality, release.blob_bytes)

        return poll

    def _hour(self) -> None:
        """Take a sample, and let the publisher decide."""
        self._at(HOUR, self._hour)
        for device in self.devices:
            device.serve(HOUR)
        if self._current is not None:
            self._judge(*self._current)
        percent = self._current[1].percent() if self._current else 0
        active = Counter(device.active for device in self.devices)
        canaries = sum(
            device.row is not None and device.row.state is State.CANARY for device in self.devices
        )
        fetched = self.run.tally.fetched_bytes
        self._sent += fetched - self._fetched
        self._fetched = fetched
        sample = Sample(self.now, active, canaries, percent, self._asked, self._sent)
        self.run.samples.append(sample)
        self._sent = self._asked = 0

    def _judge(self, release: Release, rollout: Rollout) -> None:
        number = release.number
        tried = sum(
            device.row is not None and device.row.release == number for device in self.devices
        )
        failed = sum(number in device.quarantined for device in self.devices)
        self.run.tried[number], self.run.failed[number] = tried, failed
        rollout.step(self.now, tried, failed, hears=self._hears)
