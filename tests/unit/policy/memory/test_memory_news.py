"""What the scheduler does when memory does not do as the books say."""

import pytest
from fakes.world import MIB, FakeWorld

from aiosd.domain.errors import OverRamError
from aiosd.domain.expert import ExpertState
from aiosd.policy.memory.pressure import Growth
from aiosd.policy.serving.effects import Kill, Limit, Load, Refuse, Serve, Unload


@pytest.fixture
def world() -> FakeWorld:
    """A cap of 100 MiB; one and two fit together, either with three."""
    made = FakeWorld()
    made.install(one=40, two=40, three=50)
    return made


def warm(world: FakeWorld, *experts: str) -> None:
    for expert in experts:
        world.ask(expert)
        world.loaded(expert)
        world.answered(expert)
    world.pass_time(1)
    world.log.clear()


# ── a worker that grows ───────────────────────────────────────────────────────────────────────


def test_one_that_grows_while_it_answers_sends_idle_ones_away(world: FakeWorld) -> None:
    warm(world, "one", "two")
    request = world.ask("one")
    world.log.clear()
    world.grow("one", 70)
    assert world.log == [
        Limit("one", 70 * MIB),
        Unload("two", "evicted: one holds more than was estimated"),
    ]
    assert world.code(request) == "served"


def test_where_nobody_is_idle_the_one_that_grew_most_is_ended(world: FakeWorld) -> None:
    warm(world, "one", "two")
    victim, other = world.ask("one"), world.ask("two")
    world.grow("two", 45)
    world.grow("one", 70)
    assert [each.expert for each in world.last(Kill)] == ["one"]  # type: ignore[union-attr]
    error = world.ended[victim]
    assert isinstance(error, OverRamError)
    assert error.details["need_bytes"] == 70 * MIB
    assert error.details["have_bytes"] == 40 * MIB
    assert world.code(other) == "served"


def test_what_leaves_already_is_waited_for_before_anybody_is_ended(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.ask("one")
    world.grow("one", 70)  # two is told to leave
    world.log.clear()
    world.grow("one", 80)
    assert world.last(Kill) == []


def test_nobody_is_ended_who_holds_what_was_reserved(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.ask("one")
    world.ask("two")
    world.perform(world.scheduler.on_rules(world.rules, 60 * MIB, world.now))
    world.log.clear()
    world.grow("one", 40)
    assert world.last(Kill) == []


def test_nobody_is_ended_for_a_few_pages(world: FakeWorld) -> None:
    world.install(four=60)
    warm(world, "one", "four")
    world.ask("one")
    world.ask("four")
    world.log.clear()
    effects = world.scheduler.on_memory(Growth("one", 40 * MIB + 65_536), world.now)
    assert not any(isinstance(each, Kill) for each in effects)
    world.grow("one", 42)
    assert len(world.last(Kill)) == 1


def test_one_that_grows_too_much_while_it_loads_is_ended(world: FakeWorld) -> None:
    request = world.ask("one")
    world.grow("one", 120)
    assert [each.expert for each in world.last(Kill)] == ["one"]  # type: ignore[union-attr]
    world.gone("one", "killed")
    assert world.code(request) == "expert_failed"
    assert world.scheduler.slots["one"].state is ExpertState.FAILED


def test_one_that_is_being_ended_gets_nothing_more_to_do(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.ask("one")
    world.ask("two")
    behind = world.ask("one")
    world.grow("one", 70)
    world.answered("one")  # it was quicker than the signal
    world.grow("two", 41)
    assert world.code(behind) == "waiting"
    world.gone("one", "killed")
    assert world.scheduler.ledger.held("one") == 0


def test_one_that_hangs_and_is_killed_is_not_killed_again_for_growing(world: FakeWorld) -> None:
    world.ask("one")
    world.pass_time(70)  # longer than a load may take
    assert [each.expert for each in world.last(Kill)] == ["one"]  # type: ignore[union-attr]
    world.grow("one", 120)
    assert world.last(Kill) == []


def test_the_books_remember_how_large_it_grew(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    world.grow("one", 70)
    assert world.scheduler.slots["one"].appetite.need_bytes == 70 * MIB


def test_the_kernel_is_told_only_when_the_books_give_more_than_before(world: FakeWorld) -> None:
    world.ask("one")
    world.loaded("one", 20)  # less than reserved: what was reserved stays its own
    world.answered("one", 30)
    assert world.last(Limit) == []
    world.ask("one")
    world.grow("one", 60)
    assert world.last(Limit) == [Limit("one", 60 * MIB)]


def test_one_that_outgrew_the_kernels_limit_is_given_more_next_time(world: FakeWorld) -> None:
    warm(world, "one")
    request = world.ask("one")
    del world.workers["one"]
    effects = world.scheduler.on_exited(
        "one", "went over its own limit of 48 MiB", world.now, outgrown_bytes=48 * MIB
    )
    world.perform(effects)
    assert world.code(request) == "expert_failed"
    world.ask("one")
    assert world.last(Load)[-1] == Load("one", 96 * MIB)


# ── a machine that is short of memory ─────────────────────────────────────────────────────────


def test_a_short_machine_loses_one_idle_expert_at_a_time(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.short()
    assert len(world.last(Unload)) == 1
    world.short()
    assert len(world.last(Unload)) == 1
    world.short()
    assert world.log == []


def test_a_short_machine_keeps_who_is_pinned_or_busy(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.scheduler.on_pin("one", pinned=True)
    world.ask("two")
    world.log.clear()
    world.short()
    assert world.log == []


def test_a_load_for_which_there_is_no_memory_waits_for_idle_ones_to_leave(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    request = world.ask("two")
    world.lack("two", 30)
    assert [each.expert for each in world.last(Unload)] == ["one"]  # type: ignore[union-attr]
    assert world.code(request) == "waiting"
    world.pass_time(0.5)
    assert world.last(Load) == []  # nobody has left yet
    world.gone("one", "exited with status 0")
    assert world.last(Load) == [Load("two", 40 * MIB)]
    world.loaded("two")
    assert world.last(Serve)[-1].request == request  # type: ignore[union-attr]


def test_a_load_for_which_nobody_can_make_way_is_refused_with_the_number(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    request = world.ask("two")
    world.lack("two", 41)
    (refused,) = world.last(Refuse)
    assert isinstance(refused, Refuse)
    assert refused.request == request
    assert isinstance(refused.error, OverRamError)
    assert refused.error.details["lacking_bytes"] == 41 * MIB
    assert refused.error.retry_after_seconds is not None
    assert world.scheduler.ledger.held("two") == 0


def test_a_refused_load_is_tried_again_with_the_next_request(world: FakeWorld) -> None:
    world.ask("two")
    world.lack("two", 41)
    world.log.clear()
    world.ask("two")
    assert world.last(Load) == [Load("two", 40 * MIB)]


def test_a_pinned_expert_for_which_there_is_no_memory_does_not_make_the_daemon_spin(
    world: FakeWorld,
) -> None:
    world.scheduler.on_pin("two", pinned=True)
    world.perform(world.scheduler.on_load("two", world.now))
    world.lack("two", 41)
    assert world.settled[0].error is not None
    world.log.clear()
    world.pass_time(60)
    assert world.last(Load) == []
    warm(world, "one")
    world.perform(world.scheduler.on_unload("one", world.now))
    world.gone("one", "exited with status 0")
    assert world.last(Load) == [Load("two", 40 * MIB)]
