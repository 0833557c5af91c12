"""Whose turn it is: cores, priorities, power."""

from dataclasses import dataclass, field

import pytest
from fakes.world import MIB, FakeWorld

from aiosd.domain.allowance import Admission, Draw
from aiosd.domain.errors import AiosdError, OverPowerError
from aiosd.domain.request import Priority
from aiosd.policy.serving.effects import Adjust, Load, Serve
from aiosd.policy.serving.queues import Ticket
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.thread_budget import CALM_SECONDS, TRICKLE

INTERACTIVE, BACKGROUND = Priority.INTERACTIVE, Priority.BACKGROUND
TEN = tuple(f"e{number}" for number in range(10))


def ready(*experts: str, threads: int = 2, running: int | None = 3) -> FakeWorld:
    """Return a world of two cores in which these experts are loaded and idle."""
    rules = SchedulerRules(threads=2, running=running)
    world = FakeWorld(cap=1000 * MIB, rules=rules, threads=threads)
    world.install(**dict.fromkeys(experts, 10))
    for expert in experts:
        world.ask(expert)
        world.loaded(expert)
        world.answered(expert)
    world.pass_time(1)
    world.log.clear()
    return world


def served(world: FakeWorld) -> list[str]:
    return [each.expert for each in world.last(Serve) if isinstance(each, Serve)]


# ── cores ─────────────────────────────────────────────────────────────────────────────────────


def test_ten_loaded_experts_asked_at_once_are_answered_by_turns_the_longest_waiting_first() -> None:
    world = ready(*TEN)
    for expert in TEN:
        world.ask(expert)
        world.now += 0.001
    assert served(world) == ["e0", "e1", "e2"]
    for number in range(7):
        world.answered(f"e{number}")
        assert served(world) == [f"e{number + 3}"]


def test_the_threads_of_a_long_answer_go_down_when_a_second_begins_and_up_after_it() -> None:
    world = ready("long", "short")
    world.ask("long")
    assert world.workers["long"].threads == 2
    world.ask("short")
    assert (world.workers["long"].threads, world.workers["short"].threads) == (1, 1)
    world.answered("short")
    world.pass_time(CALM_SECONDS)
    assert world.workers["long"].threads == 2


def test_a_worker_that_dies_gives_its_threads_and_its_turn_back() -> None:
    world = ready("one", "two", running=1)
    world.ask("one")
    world.ask("two")
    world.gone("one")
    assert world.workers["two"].threads == 2


# ── priorities ────────────────────────────────────────────────────────────────────────────────


def test_the_most_urgent_is_next_whichever_expert_it_asks() -> None:
    world = ready("one", "two", "three", "four", running=1)
    world.ask("one", priority=INTERACTIVE)
    world.ask("two", priority=BACKGROUND)
    world.now += 1
    world.ask("three")
    world.now += 1
    world.ask("four", priority=INTERACTIVE)
    order = served(world)
    for _ in range(3):
        world.answered(order[-1])
        order += served(world)
    assert order == ["one", "four", "three", "two"]


def test_an_interactive_request_waits_for_nothing_less_urgent_than_itself() -> None:
    world = ready(*TEN)
    for expert in TEN[:5]:
        world.ask(expert)
    world.log.clear()
    world.ask("e7", priority=INTERACTIVE)
    assert served(world) == ["e7"]


def test_background_slows_to_a_trickle_as_soon_as_somebody_is_answered_beside_it() -> None:
    world = ready("sweeper", "voice")
    world.ask("sweeper", priority=BACKGROUND)
    assert (world.workers["sweeper"].threads, world.workers["sweeper"].duty) == (2, 1.0)
    world.ask("voice", priority=INTERACTIVE)
    assert (world.workers["sweeper"].threads, world.workers["sweeper"].duty) == (1, TRICKLE)
    assert world.workers["voice"].threads == 2


def test_background_begins_only_when_nobody_else_waits() -> None:
    world = ready("one", "two")
    world.ask("one")
    world.ask("one")
    world.log.clear()
    world.ask("two", priority=BACKGROUND)
    assert served(world) == []
    world.answered("one")
    assert served(world) == ["one", "two"]


def test_background_for_a_cold_expert_loads_it_only_when_nobody_else_waits() -> None:
    world = ready("one")
    world.install(cold=10)
    world.ask("one")
    world.ask("one")
    world.ask("cold", priority=BACKGROUND)
    assert world.last(Load) == []
    world.answered("one")
    assert world.last(Load) == [Load("cold", 10 * MIB)]


# ── power ─────────────────────────────────────────────────────────────────────────────────────


def test_while_held_nothing_begins_and_nothing_is_loaded_and_what_runs_goes_on() -> None:
    world = ready("one", "two")
    world.install(cold=10)
    running = world.ask("one")
    world.log.clear()
    world.allow(Admission.WAIT)
    waiting = [world.ask(expert) for expert in ("one", "two", "cold")]
    world.answered("one")
    world.pass_time(20)
    assert world.last(Serve) == world.last(Load) == []
    assert [world.code(each) for each in (running, *waiting)] == ["served", *["waiting"] * 3]
    world.allow(Admission.NOW)
    assert {each.expert for each in world.log if isinstance(each, (Serve, Load))} == {
        "one",
        "two",
        "cold",
    }


def test_a_deadline_counts_while_power_is_waited_for_and_says_so() -> None:
    world = ready("one")
    world.allow(Admission.WAIT)
    request = world.ask("one", deadline=2.0)
    world.pass_time(3)
    error = world.ended[request]
    assert isinstance(error, AiosdError)
    assert (error.code, error.details["stage"]) == ("deadline", "waiting for power")


def test_when_patience_is_over_all_who_wait_are_refused_but_background_waits_on() -> None:
    world = ready("one", "two")
    world.allow(Admission.WAIT)
    first, second = world.ask("one"), world.ask("two", priority=INTERACTIVE)
    last = world.ask("two", priority=BACKGROUND)
    world.allow(Admission.REFUSE, surplus=False)
    assert [world.code(each) for each in (first, second)] == ["over_power"] * 2
    assert world.code(last) == "waiting"
    world.allow(Admission.NOW)
    assert world.code(last) == "served"


def test_the_operator_may_load_while_requests_wait_for_power() -> None:
    world = ready("one")
    world.install(cold=10)
    world.allow(Admission.WAIT)
    world.perform(world.scheduler.on_load("cold", world.now))
    assert world.last(Load) == [Load("cold", 10 * MIB)]


def test_without_surplus_background_waits_and_others_do_not() -> None:
    world = ready("one", "two")
    world.allow(surplus=False)
    waiting = world.ask("one", priority=BACKGROUND)
    running = world.ask("two")
    assert (world.code(waiting), world.code(running)) == ("waiting", "served")
    assert world.scheduler.turns.awaits_power() is BACKGROUND
    world.allow(surplus=True)
    assert world.code(waiting) == "served"
    assert world.scheduler.turns.awaits_power() is None


def test_the_most_urgent_who_waits_for_power_is_named() -> None:
    world = ready("one")
    world.allow(Admission.WAIT)
    assert world.scheduler.turns.awaits_power() is None
    world.ask("one", priority=BACKGROUND)
    assert world.scheduler.turns.awaits_power() is BACKGROUND
    world.ask("one", priority=INTERACTIVE)
    assert world.scheduler.turns.awaits_power() is INTERACTIVE


def test_the_cores_that_a_cap_pays_for_reach_those_who_run() -> None:
    world = ready("one", "two")
    world.ask("one")
    world.log.clear()
    world.allow(threads=2, duty=0.5)
    assert world.last(Adjust) == [Adjust("one", 2, 0.5)]
    world.perform(world.scheduler.on_power(None, None, world.now))
    assert world.last(Adjust) == [Adjust("one", 2, 1.0)]


def test_where_the_kernel_keeps_the_cores_workers_get_fewer_threads_and_no_rests() -> None:
    world = ready("one")
    world.scheduler.turns.paced = False
    world.ask("one")
    world.log.clear()
    world.allow(threads=1, duty=0.5)
    assert world.last(Adjust) == [Adjust("one", 1, 1.0)]


def test_other_rules_keep_what_the_power_governor_said() -> None:
    world = ready("one")
    world.allow(Admission.WAIT)
    rules = SchedulerRules(threads=1, running=1)
    world.perform(world.scheduler.on_rules(rules, 1000 * MIB, world.now))
    assert world.code(world.ask("one")) == "waiting"


# ── joules ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class FakePurse:
    """Has so many joules from some moment on; each request takes one."""

    joules: int = 0
    full_at: float = 0.0
    drawn: list[int] = field(default_factory=list)

    def draw(self, ticket: Ticket, now: float) -> Draw:
        if now < self.full_at:
            return Draw(Admission.WAIT, self.full_at - now, "empty")
        if not self.joules:
            return Draw(Admission.REFUSE, None, "never")
        self.joules -= 1
        self.drawn.append(ticket.id)
        return Draw(Admission.NOW)

    def refusal(self, draw: Draw) -> AiosdError:
        return OverPowerError(draw.why)


def test_a_request_waits_for_joules_that_come_within_its_patience() -> None:
    world = ready("one", "two")
    purse = FakePurse(2, world.now + 10)
    world.scheduler.turns.pay_from(purse)
    request = world.ask("one")
    assert world.code(request) == "waiting"
    world.pass_time(11)
    assert world.code(request) == "served"
    assert purse.drawn == [request]


def test_a_request_whose_joules_come_too_late_is_refused_and_the_next_one_looked_at() -> None:
    world = ready("one")
    world.scheduler.turns.pay_from(FakePurse(2, world.now + 100))
    request = world.ask("one")
    assert world.code(request) == "over_power"
    assert world.scheduler.queued == 0


def test_who_is_cancelled_while_waiting_for_joules_has_drawn_none() -> None:
    world = ready("one")
    purse = FakePurse(1, world.now + 10)
    world.scheduler.turns.pay_from(purse)
    first, second = world.ask("one"), world.ask("one")
    world.cancel(first, "one")
    world.pass_time(11)
    assert world.code(second) == "served"
    assert purse.drawn == [second]


def test_background_waits_for_joules_as_long_as_it_takes() -> None:
    world = ready("one")
    world.scheduler.turns.pay_from(FakePurse(1, world.now + 1000))
    request = world.ask("one", priority=BACKGROUND)
    world.pass_time(999)
    assert world.code(request) == "waiting"
    world.pass_time(2)
    assert world.code(request) == "served"


@pytest.mark.parametrize("end", ["cancel", "remove"])
def test_nothing_is_remembered_of_those_who_wait_no_longer(end: str) -> None:
    world = ready("one")
    world.scheduler.turns.pay_from(FakePurse(1, world.now + 10))
    request = world.ask("one")
    if end == "cancel":
        world.cancel(request, "one")
    else:
        del world.facts["one"]
        world.catalogue()
    assert world.scheduler.turns.next_wake() is None
