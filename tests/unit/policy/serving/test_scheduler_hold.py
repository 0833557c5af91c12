"""Requests that are held back while another release of their expert has the room."""

from dataclasses import replace

import pytest
from fakes.world import MIB, FakeWorld

from aiosd.domain.expert import ExpertState
from aiosd.policy.serving.effects import Load, Serve, Settle, Unload
from aiosd.policy.serving.refusals import no_room_beside


@pytest.fixture
def world() -> FakeWorld:
    """A cap of 100 MiB; an expert and its new release fit alone, not together."""
    made = FakeWorld()
    made.install(one=60, new=60, small=20)
    made.ask("one")
    made.loaded("one")
    made.answered("one")
    made.pass_time(1)
    made.log.clear()
    return made


def hold(world: FakeWorld, seconds: float | None) -> None:
    world.perform(world.scheduler.on_hold("one", seconds, world.now))


def try_out(world: FakeWorld) -> None:
    """Load the new release while requests for the old one are held back."""
    hold(world, 10.0)
    world.perform(world.scheduler.on_load("new", world.now))
    world.gone("one", "exited with status 0")
    world.loaded("new")
    world.log.clear()


def test_requests_for_what_is_held_wait_though_its_worker_is_free(world: FakeWorld) -> None:
    hold(world, 10.0)
    request = world.ask("one")
    assert world.code(request) == "waiting"
    hold(world, None)
    assert [each.request for each in world.last(Serve) if isinstance(each, Serve)] == [request]


def test_the_new_release_is_loaded_once_though_requests_for_the_old_one_never_end(
    world: FakeWorld,
) -> None:
    try_out(world)
    assert world.settled[-1] == Settle("new", None)
    requests = []
    for _ in range(5):  # its self-tests, one after the other
        requests.append(world.ask("one"))
        test = world.ask("new")
        world.pass_time(0.5)
        world.answered("new")
        assert world.code(test) == "served"
    assert [each.expert for each in world.last(Load) if isinstance(each, Load)] == []
    assert {world.code(each) for each in requests} == {"waiting"}
    hold(world, None)
    world.gone("new", "exited with status 0")
    world.loaded("one")
    for _ in requests:
        world.answered("one")
    assert {world.code(each) for each in requests} == {"served"}


def test_nobody_is_held_back_for_longer_than_was_said(world: FakeWorld) -> None:
    try_out(world)
    world.pass_time(60)  # nobody waits: nobody is held back
    assert world.scheduler.waiting.holds("one")
    request = world.ask("one")
    world.pass_time(9.9)
    assert world.last(Unload) == []
    world.pass_time(0.2)
    assert not world.scheduler.waiting.holds("one")
    assert [each.expert for each in world.last(Unload) if isinstance(each, Unload)] == ["new"]
    world.gone("new", "exited with status 0")
    world.loaded("one")
    assert world.code(request) == "served"


def test_who_is_held_back_is_refused_at_its_deadline_and_may_cancel(world: FakeWorld) -> None:
    try_out(world)
    late, cancelled = world.ask("one", deadline=1.0), world.ask("one")
    world.cancel(cancelled, "one")
    world.pass_time(1.1)
    assert (world.code(late), world.code(cancelled)) == ("deadline", "cancelled")


def test_other_experts_are_answered_meanwhile(world: FakeWorld) -> None:
    try_out(world)
    world.ask("one")
    request = world.ask("small")
    world.loaded("small")
    assert world.code(request) == "served"


def test_a_hold_of_an_expert_that_was_removed_is_no_reason_to_wake(world: FakeWorld) -> None:
    try_out(world)
    request = world.ask("one")
    del world.facts["one"]
    world.catalogue()
    assert world.code(request) == "unknown_expert"
    world.pass_time(60)
    assert "one" not in world.scheduler.slots


def test_what_two_lack_beside_each_other_is_told_with_a_cap_that_is_enough(
    world: FakeWorld,
) -> None:
    slots, residency = world.scheduler.slots, world.scheduler.residency
    assert residency.lacks_for_both(slots["one"], slots["small"]) == 0
    lacking = residency.lacks_for_both(slots["new"], slots["one"])
    assert lacking == 20 * MIB
    said = no_room_beside(slots["new"], slots["one"], lacking, world.scheduler.ledger)
    assert said == (
        "no room: new needs 60.0 MiB beside the 60.0 MiB of one, and 20.0 MiB of that are lacking; "
        "raise ram.cap to 120 MiB"
    )
    world.perform(world.scheduler.on_rules(world.rules, 120 * MIB, world.now))
    assert residency.lacks_for_both(slots["new"], slots["one"]) == 0


def test_a_pinned_one_takes_room_from_two(world: FakeWorld) -> None:
    world.ask("small")
    world.loaded("small")
    world.scheduler.on_pin("small", pinned=True)
    slots = world.scheduler.slots
    assert world.scheduler.residency.lacks_for_both(slots["new"], slots["one"]) == 40 * MIB


def test_who_was_over_the_cap_with_another_for_pages_in_common_is_not_loaded_beside_it_again() -> (
    None
):
    world = FakeWorld()
    world.install(one=45, two=45)
    for name in ("one", "two"):
        world.ask(name)
        world.loaded(name)
        world.answered(name)
    world.scheduler.ledger.set_common("echo", 15 * MIB, 2)
    world.pass_time(1)
    world.ask("one")
    world.answered("one")  # they are found to be over the cap together
    gone = [each.expert for each in world.last(Unload) if isinstance(each, Unload)]
    assert len(gone) == 1
    world.gone(gone[0], "exited with status 0")
    world.scheduler.ledger.set_common("echo", 0, 1)
    slots = world.scheduler.slots
    assert world.scheduler.residency.lacks_for_both(slots["one"], slots["two"]) == 5 * MIB
    world.pass_time(1)
    world.ask(gone[0])
    assert slots[gone[0]].state is ExpertState.COLD  # not before the other has left
    assert len(world.last(Unload)) == 1


def test_two_releases_on_one_model_need_its_weights_once(world: FakeWorld) -> None:
    for name in ("one", "new"):
        world.facts[name] = replace(world.facts[name], shared_model="m", shared_bytes=40 * MIB)
    world.catalogue()
    slots = world.scheduler.slots
    assert world.scheduler.residency.lacks_for_both(slots["new"], slots["one"]) == 0
    world.facts["new"] = replace(world.facts["new"], shared_bytes=15 * MIB)
    world.catalogue()
    assert world.scheduler.residency.lacks_for_both(slots["new"], slots["one"]) == 5 * MIB
