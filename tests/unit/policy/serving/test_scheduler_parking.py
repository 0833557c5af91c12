"""Experts that give back a part of what they hold, and come back."""

import pytest
from fakes.world import MIB, FakeWorld

from aiosd.domain.expert import ExpertState
from aiosd.policy.serving.effects import Kill, Load, Park, Resume, Serve, Settle, Unload


@pytest.fixture
def world() -> FakeWorld:
    """A cap of 100 MiB; one and two can be parked: of 40 MiB, 12 are context and 20 mapped."""
    made = FakeWorld(parkers=frozenset({"one", "two"}))
    made.install(one=40, two=40, three=50, small=25, big=90)
    return made


def warm(world: FakeWorld, *experts: str) -> None:
    """Have experts loaded in a second, each after one answer, long enough ago to be sent away."""
    for expert in experts:
        world.ask(expert)
        if not world.workers[expert].ready:
            world.now += 1.0
            world.loaded(expert)
        world.answered(expert)
    world.pass_time(1)
    world.log.clear()


def parked(world: FakeWorld, *experts: str) -> None:
    """Have experts loaded and then parked for want of work."""
    warm(world, *experts)
    world.pass_time(30)
    for expert in experts:
        world.parked(expert)
    world.log.clear()


def state(world: FakeWorld, expert: str) -> ExpertState:
    return world.scheduler.slots[expert].state


def test_an_idle_expert_is_parked_first_and_leaves_later(world: FakeWorld) -> None:
    warm(world, "one")
    world.pass_time(28)
    assert world.last(Park) == []
    world.pass_time(2)
    assert world.last(Park) == [Park("one", pages=False, why="idle")]
    world.parked("one")
    assert world.scheduler.ledger.held("one") == pytest.approx(28 * MIB, abs=2)
    assert world.scheduler.ledger.file_bytes("one") == 20 * MIB
    world.pass_time(250)
    assert not world.workers["one"].closing
    world.pass_time(20)
    assert world.last(Unload) == [Unload("one", "idle")]


def test_a_parked_expert_comes_back_and_answers_without_a_load(world: FakeWorld) -> None:
    parked(world, "one")
    world.ask("one")
    resume, serve = world.log
    assert resume == Resume("one")
    assert isinstance(serve, Serve)
    assert serve.load_seconds == 0.0
    assert world.scheduler.ledger.held("one") == 40 * MIB
    assert state(world, "one") is ExpertState.READY


def test_one_that_cannot_be_parked_only_leaves(world: FakeWorld) -> None:
    warm(world, "three")
    world.pass_time(299)
    assert world.last(Park) == []
    assert world.workers["three"].closing


def test_a_newcomer_that_needs_only_a_context_s_room_sends_nobody_away(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.ask("small")  # 25 and 80 are five too many
    (park,) = world.last(Park)
    assert isinstance(park, Park)
    assert not park.pages
    assert park.why == "room for small"
    world.parked(park.expert)
    assert world.last(Load) == [Load("small", 25 * MIB)]
    assert world.scheduler.evictions == 0
    assert world.scheduler.residency.parkings == 1


def test_the_next_steps_are_the_pages_and_then_the_process(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("big")  # 90 beside 40: thirty must go
    assert world.last(Park) == [Park("one", pages=True, why="room for big")]
    world.parked("one")
    assert world.last(Load) == [Load("big", 90 * MIB)]
    assert world.scheduler.ledger.held("one") == pytest.approx(8 * MIB, abs=2)
    world.install(whole=100)
    world.loaded("big")
    world.answered("big")
    world.pass_time(1)
    world.ask("whole")
    assert {each.expert for each in world.last(Unload) if isinstance(each, Unload)} == {
        "one",
        "big",
    }


def test_a_parked_expert_gives_its_pages_before_a_ready_one_leaves(world: FakeWorld) -> None:
    parked(world, "one")
    warm(world, "three")
    warm(world, "three")  # used twice
    world.ask("small")  # 28 + 50 + 25
    assert world.last(Park) == [Park("one", pages=True, why="room for small")]


def test_no_context_is_made_before_there_is_room_for_it(world: FakeWorld) -> None:
    parked(world, "one")
    world.ask("three")
    world.loaded("three")
    world.ask("small")  # 28 + 50 + 25: the parked one gives its pages
    world.parked("one")
    world.loaded("small")
    world.log.clear()
    request = world.ask("one")  # 8 of 40 are there, and 17 free; both others answer
    assert world.last(Resume) == []
    assert world.code(request) == "waiting"
    world.answered("three")
    world.answered("small")
    world.pass_time(1)
    world.work()
    world.work()
    assert world.code(request) == "served"


def test_a_request_that_comes_while_its_expert_is_being_parked_waits_for_that(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    world.pass_time(30)
    request = world.ask("one")
    assert world.code(request) == "waiting"
    assert world.last(Resume) == []
    world.parked("one")
    assert world.code(request) == "served"


def test_a_pinned_expert_is_never_parked(world: FakeWorld) -> None:
    warm(world, "one")
    world.scheduler.on_pin("one", pinned=True)
    world.pass_time(3600)
    big = world.ask("big")
    assert world.last(Park) == []
    assert world.code(big) == "over_ram"


def test_an_idle_expert_leaves_although_the_clock_rounds() -> None:
    """212.05 + 300 - 212.05 is less than 300 in floating point."""
    world = FakeWorld(now=212.05)
    world.install(three=50)
    world.ask("three")
    world.loaded("three")
    world.answered("three")
    world.pass_time(300)
    assert world.last(Unload) == [Unload("three", "idle")]


def test_an_expert_that_answers_is_not_parked(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    world.ask("big")
    world.pass_time(100)
    assert world.last(Park) == []


def test_one_that_was_killed_while_parked_is_loaded_anew(world: FakeWorld) -> None:
    parked(world, "one")
    world.gone("one", "killed")
    assert state(world, "one") is ExpertState.COLD
    assert world.scheduler.ledger.used_bytes == 0
    world.ask("one")
    assert world.last(Load) == [Load("one", 40 * MIB)]
    world.loaded("one")
    assert not world.workers["one"].parked


@pytest.mark.parametrize("done", [False, True])
def test_an_operator_s_unload_ends_a_parked_expert(world: FakeWorld, *, done: bool) -> None:
    warm(world, "one")
    world.pass_time(30)
    if done:
        world.parked("one")
    world.perform(world.scheduler.on_unload("one", world.now))
    if not done:
        world.parked("one")
    assert world.workers["one"].closing
    world.gone("one")
    assert world.settled == [Settle("one", None)]


def test_an_operator_s_load_brings_a_parked_expert_back(world: FakeWorld) -> None:
    parked(world, "one")
    world.perform(world.scheduler.on_load("one", world.now))
    assert world.log == [Resume("one"), Settle("one", None)]
    assert state(world, "one") is ExpertState.READY
    assert world.scheduler.next_wake(world.now) == world.now + 30


def test_a_worker_that_does_not_park_in_time_is_killed(world: FakeWorld) -> None:
    warm(world, "one")
    world.pass_time(40)
    assert [each.expert for each in world.last(Kill) if isinstance(each, Kill)] == ["one"]


def test_where_pages_cost_nearly_a_load_the_expert_leaves_instead(world: FakeWorld) -> None:
    """On a board whose page cache keeps nothing, pages are read again at the price of a load."""
    world.ask("one")
    world.now += 1.0
    world.loaded("one")
    world.answered("one")
    world.pass_time(30)
    world.parked("one")
    world.scheduler.on_resumed("one", 0.02, 0.97)
    world.ask("one")
    world.answered("one")
    world.scheduler.on_resumed("one", 0.02, 0.97)
    world.pass_time(1)
    world.log.clear()
    world.ask("big")
    assert world.last(Unload) == [Unload("one", "evicted: room for big")]


def test_over_a_lower_cap_contexts_go_before_experts(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.perform(world.scheduler.on_rules(world.rules, 70 * MIB, world.now))
    parks = world.last(Park)
    assert [each.expert for each in parks if isinstance(each, Park)]
    assert world.scheduler.evictions == 0
    world.work()
    assert world.scheduler.ledger.free_bytes >= 0


def test_whoever_must_make_room_on_the_board_learns_who_can_be_parked(world: FakeWorld) -> None:
    parked(world, "one")
    warm(world, "two", "small")
    slots = world.scheduler.residency.parkable(world.now)
    assert [slot.facts.expert for slot in slots] == ["two"]
    world.ask("two")
    assert world.scheduler.residency.parkable(world.now) == []


def test_a_load_that_the_machine_had_no_memory_for_is_begun_once_somebody_was_parked(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    world.ask("small")
    world.perform(world.scheduler.on_rules(world.rules, 60 * MIB, world.now))
    assert world.workers["one"].parking
    world.lack("small", 1)
    world.last(Load)
    world.parked("one")
    assert [each.expert for each in world.last(Load) if isinstance(each, Load)] == ["small"]
