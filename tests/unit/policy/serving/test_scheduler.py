"""Events in, effects out."""

import pytest
from fakes.world import MIB, FakeWorld

from aiosd.domain.expert import ExpertState
from aiosd.domain.footprint import Footprint
from aiosd.domain.request import Priority
from aiosd.policy.serving.effects import Interrupt, Kill, Load, Serve, Settle, Unload
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.restart import RestartRules
from aiosd.policy.serving.rules import SchedulerRules


@pytest.fixture
def world() -> FakeWorld:
    """A cap of 100 MiB; one and two fit together, either with three, big only alone."""
    made = FakeWorld()
    made.install(one=40, two=40, three=50, big=90)
    return made


def warm(world: FakeWorld, *experts: str) -> None:
    """Have experts loaded, each after one answer, and long enough ago to be sent away."""
    for expert in experts:
        world.ask(expert)
        world.loaded(expert)
        world.answered(expert)
    world.pass_time(1)
    world.log.clear()


def test_a_request_loads_its_expert_and_is_then_served(world: FakeWorld) -> None:
    request = world.ask("one")
    assert world.last(Load) == [Load("one", 40 * MIB)]
    world.now += 0.5
    world.loaded("one")
    assert world.last(Serve) == [Serve(request, "one", queue_seconds=0.0, load_seconds=0.5)]


def test_a_warm_expert_is_served_at_once_without_load_time(world: FakeWorld) -> None:
    warm(world, "one")
    request = world.ask("one")
    assert world.last(Serve) == [Serve(request, "one", queue_seconds=0.0, load_seconds=0.0)]


def test_the_time_behind_another_request_is_queue_time(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    second = world.ask("one")
    world.now += 2.0
    world.answered("one")
    assert world.last(Serve)[-1] == Serve(second, "one", queue_seconds=2.0, load_seconds=0.0)


def test_an_idle_expert_leaves_for_one_that_needs_its_room(world: FakeWorld) -> None:
    warm(world, "one", "two")
    world.ask("three")
    (unload,) = world.last(Unload)
    assert isinstance(unload, Unload)
    assert unload.why == "evicted: room for three"
    assert "three" not in world.workers
    world.gone(unload.expert)
    assert [load.expert for load in world.last(Load) if isinstance(load, Load)] == ["three"]


def test_two_loads_at_once_cannot_both_take_the_same_room(world: FakeWorld) -> None:
    world.ask("big")
    world.ask("three")
    assert list(world.workers) == ["big"]


def test_an_expert_that_answers_is_never_evicted(world: FakeWorld) -> None:
    warm(world, "big")
    world.ask("big")
    world.ask("one")
    world.pass_time(60)
    assert not world.workers["big"].closing
    world.answered("big")
    assert world.workers["big"].closing


def test_a_pinned_expert_is_never_evicted_and_the_refusal_names_it(world: FakeWorld) -> None:
    warm(world, "three")
    world.scheduler.on_pin("three", pinned=True)
    error = world.ended[world.ask("big")]
    assert not isinstance(error, str)
    assert error.code == "over_ram"
    assert error.details == {
        "expert": "big",
        "need_bytes": 90 * MIB,
        "have_bytes": 50 * MIB,
        "cap_bytes": 100 * MIB,
        "would_free": ["three"],
        "measured": False,
    }
    assert "unpin three" in error.message


def test_a_pinned_expert_never_idles_out(world: FakeWorld) -> None:
    warm(world, "one")
    world.scheduler.on_pin("one", pinned=True)
    world.pass_time(10_000)
    assert not world.workers["one"].closing


def test_a_pinned_expert_that_crashed_comes_back_by_itself(world: FakeWorld) -> None:
    warm(world, "one")
    world.scheduler.on_pin("one", pinned=True)
    world.gone("one")
    assert world.last(Load) == [Load("one", 40 * MIB)]


def test_an_expert_larger_than_the_cap_is_refused_with_numbers(world: FakeWorld) -> None:
    world.install(huge=500)
    error = world.ended[world.ask("huge")]
    assert not isinstance(error, str)
    assert (error.details["need_bytes"], error.details["cap_bytes"]) == (500 * MIB, 100 * MIB)


def test_what_was_measured_replaces_what_was_reserved(world: FakeWorld) -> None:
    world.ask("one")
    world.loaded("one", 10)
    assert world.scheduler.ledger.used_bytes == 10 * MIB
    assert world.scheduler.slots["one"].appetite.need_bytes == 10 * MIB


def test_what_was_reserved_stays_until_it_is_measured(world: FakeWorld) -> None:
    world.ask("one")
    world.workers["one"].ready = True
    world.perform(world.scheduler.on_loaded("one", None, world.now))
    assert world.scheduler.ledger.used_bytes == 40 * MIB
    assert world.scheduler.slots["one"].appetite.peak_bytes == 0
    assert world.workers["one"].serving
    world.perform(world.scheduler.on_measured("one", 10 * MIB, world.now))
    assert world.scheduler.ledger.held("one") == 10 * MIB


def test_an_expert_that_holds_more_than_it_said_pushes_idle_ones_out(world: FakeWorld) -> None:
    warm(world, "two")
    world.ask("one")
    world.loaded("one", 70)
    assert world.workers["two"].closing
    assert world.workers["one"].serving


def test_those_who_leave_already_are_counted_before_more_are_sent_away(world: FakeWorld) -> None:
    world.install(tiny=5, small=20)
    warm(world, "tiny", "small", "one")
    world.perform(world.scheduler.on_unload("small", world.now))
    world.ask("tiny")
    world.answered("tiny", 50)
    assert not world.workers["one"].closing


def test_an_expert_that_holds_more_than_the_cap_is_refused_and_leaves(world: FakeWorld) -> None:
    request = world.ask("one")
    world.loaded("one", 130)
    assert world.code(request) == "over_ram"
    assert world.workers["one"].closing
    world.gone("one")
    assert world.code(world.ask("one")) == "over_ram"
    assert not world.workers


def test_an_idle_expert_that_turns_out_to_hold_too_much_leaves_at_once(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    world.answered("one", 130)
    assert world.workers["one"].closing


def test_a_measurement_that_frees_room_lets_the_next_one_in(world: FakeWorld) -> None:
    world.ask("one")
    world.loaded("one", 90)
    request = world.ask("two")
    world.perform(world.scheduler.on_measured("one", 20 * MIB, world.now))
    world.loaded("two")
    assert world.code(request) == "served"


def test_a_b_a_b_is_gathered_into_two_loads() -> None:
    world = FakeWorld()
    world.install(a=60, b=60)
    for _ in range(5):
        world.ask("a")
        world.ask("b")
    while world.waiting:
        world.work(0.01)
    loads = [each.expert for each in world.log if isinstance(each, Load)]
    assert loads == ["a", "b"]


def test_more_work_than_can_be_done_does_not_load_anew_for_each_request() -> None:
    world = FakeWorld(rules=SchedulerRules(queue_per_client=100))
    world.install(a=60, b=60)
    served = 0
    for _ in range(400):
        for expert in ("a", "b"):
            if len(world.waiting) < 60:
                world.ask(expert)
                served += 1
        world.work(0.02)
    loads = sum(isinstance(each, Load) for each in world.log)
    assert served > 250
    assert loads < served / 8


def test_a_cold_expert_is_not_starved_by_a_stream_of_requests_to_a_warm_one() -> None:
    world = FakeWorld()
    world.install(hot=60, cold=60)
    request = world.ask("cold", "ben")
    world.work()
    world.work()
    world.ask("hot")
    world.ask("hot")
    world.pass_time(1)
    request = world.ask("cold", "ben")
    start = world.now
    while world.code(request) == "waiting":
        world.ask("hot")
        world.work(0.05)
        assert world.now - start < 2.0, "starved"


def test_a_large_expert_is_not_starved_by_small_ones_that_take_its_room() -> None:
    world = FakeWorld(rules=SchedulerRules(queue_per_client=100))
    world.install(large=90, **{f"s{number}": 25 for number in range(8)})
    for number in range(4):
        world.ask(f"s{number}")
    world.work()
    request = world.ask("large", "ben")
    start = world.now
    turn = 0
    while world.code(request) == "waiting":
        turn += 1
        world.ask(f"s{turn % 8}")
        world.work(0.05)
        assert world.now - start < 5.0, "starved"


def test_two_busy_experts_both_make_way_although_they_are_never_idle_together() -> None:
    world = FakeWorld()
    world.install(one=45, two=45, large=90)
    for expert in ("one", "two"):
        world.ask(expert)
        world.loaded(expert)
        world.ask(expert)
    request = world.ask("large", "ben")
    for _ in range(40):
        for expert in ("one", "two"):
            if expert in world.workers and world.workers[expert].serving:
                world.pass_time(0.05)
                world.ask(expert)
                world.answered(expert)
            elif expert in world.workers and world.workers[expert].closing:
                world.gone(expert)
        if "large" in world.workers:
            break
    world.loaded("large")
    assert world.code(request) == "served"


def test_a_large_expert_that_waits_for_a_busy_one_holds_up_nobody_else() -> None:
    world = FakeWorld()
    world.install(llm=60, spotter=10, large=80)
    for expert in ("llm", "spotter"):
        world.ask(expert)
        world.loaded(expert)
    world.answered("spotter")
    world.ask("large")
    world.pass_time(5)
    assert world.code(world.ask("spotter")) == "served"


def test_interactive_requests_go_before_normal_ones_and_background_last(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    late = world.ask("one", priority=Priority.BACKGROUND)
    usual = world.ask("one")
    urgent = world.ask("one", priority=Priority.INTERACTIVE)
    order = []
    for _ in range(3):
        world.answered("one")
        order.append(world.workers["one"].serving)
    assert order == [urgent, usual, late]


def test_one_client_with_many_requests_delays_another_by_one(world: FakeWorld) -> None:
    warm(world, "one")
    for _ in range(20):
        world.ask("one", "greedy")
    modest = world.ask("one", "modest")
    world.answered("one")
    world.answered("one")
    assert world.workers["one"].serving == modest


def test_a_client_may_only_have_so_many_waiting_and_others_are_not_hurt(world: FakeWorld) -> None:
    warm(world, "one")
    requests = [world.ask("one", "greedy") for _ in range(34)]
    assert world.code(requests[32]) == "waiting"
    error = world.ended[requests[33]]
    assert not isinstance(error, str)
    assert error.code == "busy"
    assert error.retry_after_seconds == 0.5
    assert world.code(world.ask("one", "modest")) == "waiting"


def test_all_clients_together_may_only_have_so_many_waiting(world: FakeWorld) -> None:
    requests = [world.ask("one", f"client {number}") for number in range(513)]
    assert world.code(requests[511]) == "waiting"
    assert world.code(requests[512]) == "busy"


def test_a_queued_request_ends_when_its_deadline_passes(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    request = world.ask("one", deadline=1.5)
    world.pass_time(2)
    error = world.ended[request]
    assert not isinstance(error, str)
    assert error.details == {"stage": "queued", "waited_seconds": 1.5}


def test_a_deadline_while_loading_says_so(world: FakeWorld) -> None:
    error = world.ended.get(world.ask("one", deadline=0.5))
    world.pass_time(1)
    error = world.ended[1]
    assert not isinstance(error, str)
    assert error.details["stage"] == "loading"


def test_a_running_request_is_interrupted_at_its_deadline_and_the_next_is_served(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    request = world.ask("one", deadline=1.0)
    other = world.ask("one")
    world.pass_time(1.5)
    assert world.last(Interrupt) == [Interrupt(request, "one")]
    assert world.code(request) == "deadline"
    world.answered("one")
    assert world.workers["one"].serving == other


def test_a_worker_that_does_not_let_go_is_killed_once_after_the_grace(world: FakeWorld) -> None:
    warm(world, "one")
    request = world.ask("one", deadline=1.0)
    world.pass_time(5.9)
    assert not world.workers["one"].killed
    world.pass_time(60)
    assert world.last(Kill) == [Kill("one", "did not react in time")]
    assert world.code(request) == "deadline"
    world.gone("one", "killed by SIGKILL")
    assert world.code(request) == "deadline"


def test_a_cancel_ends_a_queued_and_a_running_request_once(world: FakeWorld) -> None:
    warm(world, "one")
    running, queued = world.ask("one"), world.ask("one")
    for _ in range(3):
        world.cancel(running, "one")
        world.cancel(queued, "one")
    assert (world.code(running), world.code(queued)) == ("cancelled", "cancelled")
    assert world.last(Interrupt) == [Interrupt(running, "one")]


def test_a_load_that_takes_too_long_is_killed_and_says_how_long(world: FakeWorld) -> None:
    request = world.ask("one")
    world.pass_time(61)
    (kill,) = world.last(Kill)
    assert isinstance(kill, Kill)
    assert kill.why == "loading took longer than 60 s"
    world.gone("one", kill.why)
    assert world.code(request) == "expert_failed"


def test_a_crash_ends_only_the_request_that_ran(world: FakeWorld) -> None:
    warm(world, "one")
    crashed, next_one = world.ask("one"), world.ask("one")
    world.gone("one", "crashed with SIGSEGV")
    error = world.ended[crashed]
    assert not isinstance(error, str)
    assert (error.code, error.details["reason"]) == ("expert_failed", "crashed with SIGSEGV")
    world.loaded("one")
    assert world.code(next_one) == "served"


@pytest.mark.parametrize("first_rest", [0.0, 10.0])
def test_a_failed_load_is_never_tried_again_at_once(first_rest: float) -> None:
    world = FakeWorld(rules=SchedulerRules(restart=RestartRules(first_rest_seconds=first_rest)))
    world.install(one=40)
    first, second = world.ask("one"), world.ask("one")
    world.gone("one", "no model")
    assert (world.code(first), world.code(second)) == ("expert_failed", "expert_failed")
    assert not world.workers


def test_failed_loads_rest_twice_as_long_each_time_up_to_the_longest(world: FakeWorld) -> None:
    rests = []
    for _ in range(7):
        request = world.ask("one")
        world.gone("one", "no model")
        error = world.ended[request]
        assert not isinstance(error, str)
        rests.append(error.retry_after_seconds)
        assert world.code(world.ask("one")) == "expert_failed"
        assert not world.workers, "a resting expert is not loaded"
        world.pass_time(rests[-1] or 0)
    assert rests == [10, 20, 40, 80, 160, 300, 300]


def test_an_answer_ends_the_doubling(world: FakeWorld) -> None:
    for _ in range(3):
        world.ask("one")
        world.gone("one", "no model")
        world.pass_time(300)
    warm(world, "one")
    world.gone("one")
    request = world.ask("one")
    world.gone("one", "no model")
    error = world.ended[request]
    assert not isinstance(error, str)
    assert error.retry_after_seconds == 10


def test_crashes_spend_a_budget_and_then_the_expert_rests(world: FakeWorld) -> None:
    for _ in range(4):
        request = world.ask("one")
        world.loaded("one")
        world.gone("one")
    assert world.code(request) == "expert_failed"
    error = world.ended[world.ask("one")]
    assert not isinstance(error, str)
    assert error.retry_after_seconds == 10
    assert "crashed 4 times within 60 s" in error.message


def test_crashes_over_months_never_add_up(world: FakeWorld) -> None:
    for _ in range(50):
        world.ask("one")
        world.loaded("one")
        world.gone("one")
        world.pass_time(61)
    assert world.scheduler.slots["one"].state is ExpertState.COLD


def test_a_changed_expert_is_replaced_once_its_request_is_done(world: FakeWorld) -> None:
    warm(world, "one")
    running, waiting = world.ask("one"), world.ask("one")
    world.facts["one"] = ExpertFacts("one", 70 * MIB)
    world.catalogue(["one"])
    assert world.workers["one"].serving == running
    world.answered("one", 40)
    world.gone("one")
    assert world.last(Load)[-1] == Load("one", 70 * MIB)
    world.loaded("one")
    assert world.code(waiting) == "served"


@pytest.mark.parametrize("loaded", [True, False])
def test_a_changed_expert_whose_old_worker_crashes_is_loaded_anew(
    world: FakeWorld, *, loaded: bool
) -> None:
    world.ask("one")
    if loaded:
        world.loaded("one")
    waiting = world.ask("one")
    world.catalogue(["one"])
    world.gone("one")
    world.loaded("one")
    while world.code(waiting) == "waiting":
        world.answered("one")
    assert world.code(waiting) == "served"


def test_a_removed_expert_finishes_what_runs_and_refuses_what_waits(world: FakeWorld) -> None:
    warm(world, "one")
    running, waiting = world.ask("one"), world.ask("one")
    del world.facts["one"]
    world.catalogue()
    assert world.code(waiting) == "unknown_expert"
    assert world.workers["one"].serving == running
    world.answered("one")
    assert world.workers["one"].closing
    world.gone("one")
    assert "one" not in world.scheduler.slots


def test_an_expert_that_comes_back_before_its_old_worker_left_can_be_asked(
    world: FakeWorld,
) -> None:
    warm(world, "one")
    facts = world.facts.pop("one")
    world.catalogue()
    world.facts["one"] = facts
    world.catalogue()
    request = world.ask("one")
    world.gone("one")
    world.loaded("one")
    assert world.code(request) == "served"


def test_new_rules_count_for_experts_that_are_known_already(world: FakeWorld) -> None:
    warm(world, "one")
    world.facts = {
        name: ExpertFacts(name, each.need_bytes, keep_alive_seconds=7)
        for name, each in world.facts.items()
    }
    world.catalogue()
    world.ask("one")
    world.answered("one")
    world.pass_time(8)
    assert world.workers["one"].closing


def test_a_lower_cap_sends_idle_experts_away_and_busy_ones_once_they_are_done(
    world: FakeWorld,
) -> None:
    warm(world, "one", "two")
    world.ask("two")
    world.perform(world.scheduler.on_rules(world.rules, 30 * MIB, world.now))
    assert world.workers["one"].closing
    assert not world.workers["two"].closing
    world.answered("two")
    assert world.workers["two"].closing


def test_new_bounds_of_the_queue_count_at_once(world: FakeWorld) -> None:
    world.perform(
        world.scheduler.on_rules(SchedulerRules(queue_per_client=1), world.cap, world.now)
    )
    world.ask("one")
    assert world.code(world.ask("one")) == "busy"


def test_an_idle_expert_leaves_after_its_keep_alive(world: FakeWorld) -> None:
    warm(world, "one")
    world.pass_time(298)
    assert not world.workers["one"].closing
    world.pass_time(2)
    assert world.workers["one"].closing


@pytest.mark.parametrize(("keep_alive", "stays"), [(0.0, False), (1000.0, True), (-1.0, True)])
def test_a_request_may_say_how_long_its_expert_stays(
    world: FakeWorld, keep_alive: float, *, stays: bool
) -> None:
    warm(world, "one")
    world.ask("one", keep_alive=keep_alive)
    world.answered("one")
    world.pass_time(400)
    assert world.workers["one"].closing is not stays


def test_an_operator_loads_and_hears_when_it_is_done(world: FakeWorld) -> None:
    world.perform(world.scheduler.on_load("one", world.now))
    assert not world.settled
    world.loaded("one")
    assert world.settled == [Settle("one", None)]


def test_an_operator_hears_why_an_expert_cannot_be_loaded(world: FakeWorld) -> None:
    world.install(huge=500)
    world.perform(world.scheduler.on_load("huge", world.now))
    (settle,) = world.settled
    assert settle.error is not None
    assert settle.error.code == "over_ram"


def test_an_operator_who_unloads_hears_of_it_even_if_the_worker_crashes(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    world.perform(world.scheduler.on_unload("one", world.now))
    assert not world.settled
    world.gone("one")
    assert world.settled == [Settle("one", None)]


def test_a_load_asked_for_after_an_unload_wins(world: FakeWorld) -> None:
    warm(world, "one")
    world.ask("one")
    world.perform(world.scheduler.on_unload("one", world.now))
    world.perform(world.scheduler.on_load("one", world.now))
    world.answered("one")
    assert not world.workers["one"].closing


def test_after_stop_what_is_new_is_refused_and_what_waits_is_still_served(
    world: FakeWorld,
) -> None:
    request = world.ask("one")
    world.scheduler.on_stop()
    assert world.code(world.ask("one")) == "busy"
    assert world.scheduler.busy
    world.loaded("one")
    assert world.code(request) == "served"
    world.answered("one")
    assert not world.scheduler.busy


def test_giving_up_ends_everything_that_waits_or_runs(world: FakeWorld) -> None:
    warm(world, "one")
    running, waiting, cold = world.ask("one"), world.ask("one"), world.ask("two")
    world.scheduler.on_stop()
    world.perform(world.scheduler.on_give_up(world.now))
    assert {world.code(each) for each in (running, waiting, cold)} == {"cancelled"}


def test_nothing_to_do_means_no_wake_up(world: FakeWorld) -> None:
    assert world.scheduler.next_wake(world.now) is None
    warm(world, "one")
    world.ask("one", keep_alive=-1)
    world.answered("one")
    assert world.scheduler.next_wake(world.now) is None


def test_patience_ends_although_the_clock_rounds() -> None:
    """0.1 + 0.25 - 0.1 is less than 0.25 in floating point."""
    world = FakeWorld(now=0.1)
    world.install(a=60, b=60)
    world.ask("a")
    world.now = 0.1
    world.loaded("a")
    world.ask("a")
    cold = world.ask("b", "ben")
    world.answered("a")
    world.pass_time(0.5)
    world.answered("a")
    world.gone("a")
    world.loaded("b")
    assert world.code(cold) == "served"


def test_deadlines_of_requests_long_gone_are_not_kept(world: FakeWorld) -> None:
    warm(world, "one")
    for _ in range(1000):
        world.ask("one", deadline=3600)
        world.answered("one")
    assert len(world.scheduler.waiting._deadlines) < 100


def test_an_expert_that_had_only_just_left_stays_for_requests_still_to_come() -> None:
    world = FakeWorld()
    world.install(a=60, b=60)

    def load(expert: str) -> None:
        world.now += 1.0
        world.loaded(expert)

    world.ask("a")
    load("a")
    world.answered("a")
    world.ask("b")
    world.gone("a")
    load("b")
    world.answered("b")
    world.ask("a")
    world.gone("b")
    load("a")  # loaded again two seconds after it left: it should have stayed
    world.answered("a")
    world.ask("b")
    assert not world.workers["a"].closing
    served = world.ask("a")
    assert world.ended[served] == "served"
    world.answered("a")
    world.pass_time(1.9)
    assert not world.workers["a"].closing
    world.pass_time(0.2)
    assert world.workers["a"].closing


def test_nobody_gets_the_room_that_a_young_worker_may_still_grow_into(world: FakeWorld) -> None:
    """One was said to need 40 MiB and holds 38: it may take two more, and 62 do not fit beside."""
    world.install(other=61, less=60)
    world.ask("one")
    world.loaded("one", 38)
    world.ask("other")
    assert "other" not in world.workers
    world.answered("one")
    world.pass_time(1)
    assert world.workers["one"].closing


def test_an_estimate_that_is_far_too_large_is_not_kept_free(world: FakeWorld) -> None:
    world.ask("three")
    world.loaded("three", 10)
    world.ask("big")
    assert world.scheduler.ledger.promised_bytes < MIB
    assert "big" not in world.workers  # 90 + 10 + 0.8
    world.install(fits=89)
    world.ask("fits")
    assert "fits" in world.workers


def test_the_most_that_a_release_ever_held_is_reserved_next_time(world: FakeWorld) -> None:
    world.ask("one")
    world.loaded("one", 30)
    world.answered("one", 36)
    for _ in range(8):
        world.ask("one")
        world.answered("one", 33)
    world.perform(world.scheduler.on_unload("one", world.now))
    world.gone("one")
    world.log.clear()
    world.ask("one")
    assert world.last(Load) == [Load("one", 36 * MIB)]


def test_frequent_use_of_long_ago_counts_less_than_some_of_today(world: FakeWorld) -> None:
    def use(expert: str, times: int) -> None:
        for _ in range(times):
            world.ask(expert)
            world.answered(expert)

    warm(world, "one")
    use("one", 10)
    world.scheduler.on_pin("one", pinned=True)
    world.pass_time(7200)
    world.scheduler.on_pin("one", pinned=False)
    warm(world, "two")
    use("two", 2)
    world.ask("three")
    assert world.workers["two"].closing is False
    assert world.workers["one"].closing


def test_a_cap_below_the_hosts_is_told_as_what_would_be_enough(world: FakeWorld) -> None:
    world.scheduler.ledger.set_host("echo", 130 * MIB)  # the cap is 100
    world.install(small=10)
    error = world.ended[world.ask("small")]
    assert not isinstance(error, str)
    assert "raise ram.cap to 140 MiB" in error.message
    assert error.details["have_bytes"] == 0


def test_the_operator_overrides_an_estimate_until_it_is_measured(world: FakeWorld) -> None:
    world.install(huge=500)
    error = world.ended[world.ask("huge")]
    assert not isinstance(error, str)
    assert "aiosctl load huge --ram" in error.message
    assert "raise ram.cap to 500 MiB" in error.message
    world.perform(world.scheduler.on_load("huge", world.now, ram_bytes=60 * MIB))
    assert world.last(Load) == [Load("huge", 60 * MIB)]
    world.loaded("huge", 70)
    assert world.scheduler.ledger.held("huge") == 70 * MIB
    world.perform(world.scheduler.on_unload("huge", world.now))
    world.gone("huge")
    world.ask("huge")
    assert world.last(Load)[-1] == Load("huge", 70 * MIB)


def test_the_operator_overrides_a_measurement_that_was_an_exception(world: FakeWorld) -> None:
    world.ask("one")
    world.loaded("one", 130)
    world.gone("one")
    refused = world.ended[world.ask("one")]
    assert not isinstance(refused, str)
    assert refused.details["measured"] is True
    world.perform(world.scheduler.on_load("one", world.now, ram_bytes=50 * MIB))
    world.loaded("one", 45)
    assert world.workers["one"].ready


def test_the_next_release_is_not_overridden(world: FakeWorld) -> None:
    world.perform(world.scheduler.on_load("one", world.now, ram_bytes=60 * MIB))
    world.loaded("one", 60)
    world.install("one", one=40)
    world.gone("one")
    world.ask("one")
    assert world.last(Load)[-1] == Load("one", 40 * MIB)


def test_what_an_engine_planned_stays_promised_until_it_is_held(world: FakeWorld) -> None:
    world.facts["one"] = ExpertFacts("one", 40 * MIB, planned=True)
    world.catalogue()
    world.ask("one")
    world.loaded("one", 25)
    ledger = world.scheduler.ledger
    assert (ledger.held("one"), ledger.growth("one")) == (25 * MIB, 15 * MIB)
    for _ in range(20):
        world.answered("one", 25)
        world.ask("one")
    assert ledger.growth("one") == 15 * MIB
    world.answered("one", 44)
    assert (ledger.held("one"), ledger.growth("one")) == (44 * MIB, 0)


def test_what_was_measured_before_a_restart_is_reserved_after_it(world: FakeWorld) -> None:
    known = Footprint(engine="e 1", peak_bytes=70 * MIB, answers=8, reload_seconds=3.0)
    world.facts["new"] = ExpertFacts("new", 40 * MIB, known=known)
    world.catalogue()
    assert world.scheduler.slots["new"].reload_seconds == 3.0
    world.ask("new")
    assert world.last(Load) == [Load("new", 70 * MIB)]


def test_what_was_measured_with_another_engine_is_forgotten(world: FakeWorld) -> None:
    known = Footprint(engine="e 1", peak_bytes=70 * MIB, answers=8, reload_seconds=3.0)
    world.facts["new"] = ExpertFacts("new", 40 * MIB, known=known)
    world.catalogue()
    world.ask("new")
    world.scheduler.on_loaded("new", 30 * MIB, world.now, known=False)
    assert world.scheduler.slots["new"].appetite.peak_bytes == 30 * MIB


# ── one base, many skills ─────────────────────────────────────────────────────────────────────


def skilled(world: FakeWorld, *names: str, own: int = 15, weights: int = 45) -> None:
    for name in names:
        world.facts[name] = ExpertFacts(
            name,
            (own + weights) * MIB,
            planned=True,
            shared_model="m",
            shared_bytes=weights * MIB,
        )
    world.catalogue()


def test_weights_that_two_share_are_counted_once(world: FakeWorld) -> None:
    skilled(world, "a", "b", "c")
    world.ask("a")
    world.loaded("a", 60)
    world.ask("b")
    assert world.last(Load)[-1] == Load("b", 60 * MIB)
    assert world.scheduler.ledger.used_bytes == (45 + 15 + 15) * MIB
    world.loaded("b", 14)
    world.answered("a", 15)
    ledger = world.scheduler.ledger
    assert ledger.used_bytes == (45 + 15 + 14) * MIB
    assert (ledger.held("a"), ledger.held("b")) == (60 * MIB, 14 * MIB)
    world.ask("c")
    world.loaded("c", 15)
    assert ledger.used_bytes == (45 + 15 + 14 + 15) * MIB


def test_shared_weights_stay_in_the_books_until_the_last_has_left(world: FakeWorld) -> None:
    skilled(world, "a", "b")
    for name in ("a", "b"):
        world.ask(name)
        world.loaded(name, 15)
        world.answered(name, 15)
    ledger = world.scheduler.ledger
    world.perform(world.scheduler.on_unload("a", world.now))
    world.gone("a")
    assert (ledger.used_bytes, ledger.held("b")) == (60 * MIB, 60 * MIB)
    world.ask("b")
    world.answered("b", 60)
    assert ledger.used_bytes == 60 * MIB
    world.perform(world.scheduler.on_unload("b", world.now))
    world.gone("b")
    assert ledger.used_bytes == 0


def test_all_who_share_leave_for_one_that_needs_their_weights(world: FakeWorld) -> None:
    skilled(world, "a", "b")
    warm(world, "a", "b")
    request = world.ask("big")
    while "big" not in world.workers:
        leaving = [name for name, worker in world.workers.items() if worker.closing]
        assert leaving
        world.gone(leaving[0])
    world.loaded("big")
    world.answered("big")
    assert world.ended[request] == "served"


def test_a_measurement_with_the_weights_and_one_without_say_the_same(world: FakeWorld) -> None:
    skilled(world, "a")
    world.ask("a")
    for held in (60, 15, 58):
        world.loaded("a", held) if held == 60 else world.answered("a", held)
        world.ask("a")
        assert world.scheduler.slots["a"].appetite.peak_bytes == 60 * MIB
        assert world.scheduler.ledger.used_bytes == 60 * MIB


def test_one_of_many_that_holds_more_than_planned_is_booked_so(world: FakeWorld) -> None:
    skilled(world, "a", "b")
    for name in ("a", "b"):
        world.ask(name)
        world.loaded(name, 20)
        world.answered(name, 65)
    assert world.scheduler.ledger.used_bytes == (45 + 20 + 20) * MIB


def test_nobody_is_spared_for_background_requests_while_an_urgent_one_waits_for_its_room() -> None:
    world = FakeWorld(cap=100 * MIB)
    world.install(big=90, dog=50)
    world.ask("big")
    world.pass_time(30.0)  # so long does its load take, and so long it is spared
    world.loaded("big")
    later = world.ask("big", priority=Priority.BACKGROUND)
    urgent = world.ask("dog", priority=Priority.INTERACTIVE)
    world.answered("big")
    for _ in range(4):
        world.work(0.1)
    assert world.ended[urgent] == "served"
    assert later not in world.ended
    for _ in range(400):
        world.work(0.1)
    assert world.ended[later] == "served"
