"""What follows releases is made when the first one is there or asked for, and once."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from aiosd.daemon.releases.late import LateRollouts
from aiosd.daemon.releases.rollouts import Rollouts
from aiosd.daemon.settings import Rollout, Settings
from aiosd.daemon.wire.frontend import Client
from aiosd.protocol.messages import History, ReleaseVerb


@dataclass
class FakeDesk:
    budget_bytes: int = -1


@dataclass
class FakeRollouts:
    """Notes what it is told."""

    settings: Rollout | None = None
    desk: FakeDesk = field(default_factory=FakeDesk)
    told: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.told.append("begin")

    def start(self, _tasks: asyncio.TaskGroup) -> None:
        self.told.append("start")

    def on_verb(self, _client: Client, _request: bytes, verb: ReleaseVerb) -> None:
        self.told.append(type(verb).__name__)

    async def close(self) -> None:
        self.told.append("close")


def late(made: list[FakeRollouts], settings: Settings | None = None) -> LateRollouts:
    def make() -> Rollouts:
        made.append(FakeRollouts())
        return cast("Rollouts", made[-1])

    return LateRollouts(make, settings or Settings())


HISTORY = History(expert="echo")
NOBODY = cast("Client", None)


async def run(part: LateRollouts, *verbs: ReleaseVerb) -> None:
    async with asyncio.TaskGroup() as tasks:
        part.start(tasks)
        for verb in verbs:
            part.on_verb(NOBODY, b"1", verb)
    await part.close()


def test_who_has_no_releases_makes_nothing() -> None:
    made: list[FakeRollouts] = []
    part = late(made)
    part.apply(Settings())
    asyncio.run(run(part))
    assert not made


def test_what_the_ledger_tells_of_is_taken_up_and_started_once() -> None:
    made: list[FakeRollouts] = []
    part = late(made)
    part.begin()
    asyncio.run(run(part))
    assert [each.told for each in made] == [["begin", "start", "close"]]


def test_verbs_that_come_together_make_one_and_are_all_handed_on() -> None:
    made: list[FakeRollouts] = []
    part = late(made)
    asyncio.run(run(part, HISTORY, HISTORY))
    assert [each.told for each in made] == [["start", "History", "History", "close"]]


def test_settings_reach_it_when_it_is_made_and_when_they_change() -> None:
    made: list[FakeRollouts] = []
    slow, slower = (Settings(rollout=Rollout(slow_factor=each)) for each in (3.0, 4.0))
    part = late(made, slow)
    part.begin()
    assert made[0].settings == slow.rollout
    assert made[0].desk.budget_bytes == slow.store_budget_bytes
    part.apply(slower)
    assert made[0].settings == slower.rollout
