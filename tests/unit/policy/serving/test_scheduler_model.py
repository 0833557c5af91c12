"""The scheduler against a model of the world: whatever happens, in whatever order."""

from fakes.world import MIB, FakeWorld, facts
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiosd.domain.allowance import Admission
from aiosd.domain.expert import ExpertState
from aiosd.domain.request import Priority
from aiosd.policy.serving.queues import BACKGROUND_RANK, ORDER
from aiosd.policy.serving.restart import RestartRules
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.thread_budget import TRICKLE
from aiosd.policy.serving.waking import next_wake, sooner

NAMES = ("asr", "big", "cat", "dog")
NEEDS = {"asr": 40, "big": 90, "cat": 30, "dog": 50}
PARKERS = frozenset({"asr", "big", "cat"})
RULES = SchedulerRules(
    threads=2,
    running=2,
    queue_per_client=6,
    queue_total=15,
    restart=RestartRules(first_rest_seconds=1.0, longest_rest_seconds=8.0, crashes=2),
)
pick = st.sampled_from


class SchedulerMachine(RuleBasedStateMachine):
    """Clients, workers, an operator and a clock do as they please."""

    def __init__(self) -> None:
        super().__init__()
        self.world = FakeWorld(
            cap=100 * MIB, rules=RULES, threads=2, parkers=PARKERS, load_seconds=0.5
        )
        self.world.install(**NEEDS)

    @rule(
        experts=st.lists(pick(NAMES), min_size=1, max_size=4),
        client=pick(("anna", "ben", "cleo")),
        priority=pick(list(Priority)),
        deadline=pick((None, None, 0.05, 0.5, 3.0)),
        keep_alive=pick((None, 0.0, 2.0, -1.0)),
    )
    def ask(
        self,
        experts: list[str],
        client: str,
        priority: Priority,
        deadline: float | None,
        keep_alive: float | None,
    ) -> None:
        for expert in experts:
            if expert in self.world.facts:
                self.world.ask(
                    expert, client, priority=priority, deadline=deadline, keep_alive=keep_alive
                )

    @precondition(lambda self: self.world.workers)
    @rule(seconds=pick((0.0, 0.01, 0.2)))
    def everybody_works(self, seconds: float) -> None:
        self.world.work(seconds)

    @precondition(lambda self: self.world.workers)
    @rule(number=st.integers(0, 3), dies=pick((False, False, True)), held=pick((None, 10, 70, 130)))
    def one_takes_a_step(self, number: int, held: int | None, *, dies: bool) -> None:
        """One worker loads, answers or leaves, or dies at it; it may hold more than was said."""
        name = sorted(self.world.workers)[number % len(self.world.workers)]
        worker = self.world.workers[name]
        if dies or worker.closing or worker.killed:
            self.world.gone(name)
        elif worker.parking:
            self.world.parked(name)
        elif not worker.ready:
            self.world.loaded(name, held)
        elif worker.serving is not None:
            self.world.answered(name, held)

    @precondition(lambda self: self.world.workers)
    @rule(seconds=pick((0.1, 31.0)))
    def everybody_comes_to_rest(self, seconds: float) -> None:
        """Nobody is left with work; after half a minute those that can be parked begin to be."""
        for _ in range(4):
            self.world.work(0.1)
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.workers)
    @rule(number=st.integers(0, 3), held=pick((5, 45, 80, 130)))
    def one_grows(self, number: int, held: int) -> None:
        """One that answers or loads is found to hold so much; nobody else is looked at."""
        watched = dict(self.world.scheduler.residency.watched())
        name = sorted(self.world.workers)[number % len(self.world.workers)]
        if name in watched and held * MIB > watched[name]:
            self.world.grow(name, held)

    @precondition(lambda self: self.world.workers)
    @rule(number=st.integers(0, 3), lacking=pick((1, 30, 1000)))
    def the_machine_lacks_memory(self, number: int, lacking: int) -> None:
        """It is short of it; a load that was just wanted is not begun for it."""
        name = sorted(self.world.workers)[number % len(self.world.workers)]
        worker = self.world.workers[name]
        if worker.ready or worker.killed or worker.closing:
            self.world.short()
        else:
            self.world.lack(name, lacking)

    @precondition(lambda self: self.world.requests)
    @rule(number=st.integers(0, 30))
    def cancel(self, number: int) -> None:
        """Cancel one that waits, or one that runs, or one that ended long ago."""
        world = self.world
        running = {w.serving: name for name, w in world.workers.items() if w.serving}
        open_now = {**{t.id: t.expert for t in world.waiting.values()}, **running, 1: "cat"}
        request = sorted(open_now)[number % len(open_now)]
        world.cancel(request, open_now[request])

    @rule(seconds=pick((0.05, 0.3, 1.0, 6.0, 70.0, 400.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(expert=pick(NAMES), seconds=pick((None, None, 0.0, 0.5, 5.0)))
    def hold(self, expert: str, seconds: float | None) -> None:
        """Requests to an expert are held back for another release of it, or let go."""
        world = self.world
        world.perform(world.scheduler.on_hold(expert, seconds, world.now))
        world.pass_time(0.0)  # a hold may be over at once

    @rule(expert=pick(NAMES), verb=pick(("load", "unload", "pin", "unpin")))
    def operate(self, expert: str, verb: str) -> None:
        scheduler, now = self.world.scheduler, self.world.now
        if expert not in self.world.facts:
            return
        match verb:
            case "load":
                self.world.perform(scheduler.on_load(expert, now))
            case "unload":
                self.world.perform(scheduler.on_unload(expert, now))
            case _:
                scheduler.on_pin(expert, pinned=verb == "pin")

    @rule(expert=pick(NAMES), need=pick((None, 10, 45, 95)))
    def package_changes(self, expert: str, need: int | None) -> None:
        """A package is replaced, added again, or (None) removed."""
        known = expert in self.world.facts
        if need is None:
            self.world.facts.pop(expert, None)
        else:
            self.world.facts[expert] = facts(expert, need, parks=expert in PARKERS, threads=2)
        self.world.catalogue([expert] if known and need else [])

    @rule(
        admit=pick((Admission.NOW, Admission.NOW, Admission.WAIT, Admission.REFUSE)),
        surplus=st.booleans(),
        threads=pick((1, 2, 4)),
        duty=pick((0.1, 0.7, 1.0)),
    )
    def power_changes(self, admit: Admission, threads: int, duty: float, *, surplus: bool) -> None:
        self.world.allow(admit, surplus=surplus, threads=threads, duty=duty)
        if admit is Admission.REFUSE:
            left = {each.priority for each in self.world.waiting.values()}
            assert left <= {Priority.BACKGROUND}

    @rule(cap=pick((60, 100, 200)))
    def cap_changes(self, cap: int) -> None:
        effects = self.world.scheduler.on_rules(RULES, cap * MIB, self.world.now)
        self.world.perform(effects)

    @invariant()
    def the_scheduler_knows_what_exists(self) -> None:
        scheduler = self.world.scheduler
        loaded = {name for name, slot in scheduler.slots.items() if slot.loaded}
        assert loaded == set(self.world.workers)
        assert scheduler.queued == len(self.world.waiting)
        assert set(self.world.facts) <= set(scheduler.slots)
        for name, slot in scheduler.slots.items():
            assert bool(scheduler.ledger.held(name)) == slot.loaded
            serving = slot.serving.id if slot.serving else None
            assert serving == (self.world.workers[name].serving if slot.loaded else None)

    @invariant()
    def the_books_are_never_below_what_workers_hold(self) -> None:
        """A worker holds what it last told, and one that came back what it was given room for."""
        scheduler = self.world.scheduler
        for name, worker in self.world.workers.items():
            if worker.ready and not (worker.parked or worker.closing or worker.killed):
                assert scheduler.ledger.held(name) >= worker.held
            if not worker.closing:
                state = scheduler.slots[name].state
                assert worker.parking == (state is ExpertState.PARKING)
                assert (worker.parked and not worker.parking) == (state is ExpertState.PARKED)

    @invariant()
    def nobody_waits_for_an_idle_expert_without_a_reason(self) -> None:
        """A ready, idle expert with requests is kept from them by RAM, power, cores or urgency.

        Or it is held.
        """
        slots, turns = self.world.scheduler.slots.values(), self.world.scheduler.turns
        waiting = self.world.scheduler.waiting
        cold = any(slot.away and slot.wanted for slot in slots)
        urgent = any(slot.queue.rank() < BACKGROUND_RANK for slot in slots)
        for slot in slots:
            held = waiting.holds(slot.facts.expert)
            if slot.state is ExpertState.READY and not slot.serving and len(slot.queue):
                rank = slot.queue.rank()
                full = sum(ORDER.index(each) <= rank for each in self.running()) >= 2
                yields = rank == BACKGROUND_RANK and (urgent or not turns.surplus)
                assert cold or slot.doomed or turns.held or full or yields or held

    def running(self) -> list[Priority]:
        slots = self.world.scheduler.slots.values()
        return [slot.serving.priority for slot in slots if slot.serving]

    @invariant()
    def no_more_are_answered_than_may_be_nor_on_more_threads(self) -> None:
        running = self.running()
        for rank in range(len(ORDER)):
            assert sum(ORDER.index(each) == rank for each in running) <= 2
        slots = self.world.scheduler.slots
        workers = {
            name: each for name, each in self.world.workers.items() if each.serving is not None
        }
        served = {name: slots[name].serving for name in workers}
        waiting = {n for n, each in served.items() if each and each.priority is Priority.BACKGROUND}
        trickling = waiting if len(waiting) < len(workers) else set()
        # Under a power cap the duty of the others may be as small as a trickle is without one.
        most = max((each.duty for each in workers.values()), default=1.0)
        for name in trickling:
            assert workers[name].threads == 1
            assert workers[name].duty <= max(TRICKLE * most, 0.02)
        urgent = [each for name, each in workers.items() if name not in trickling]
        assert sum(each.threads for each in urgent) <= max(2, len(urgent))

    @invariant()
    def time_is_never_missed(self) -> None:
        """What requests served at once add to the next wake-up keeps it early enough."""
        scheduler, now = self.world.scheduler, self.world.now
        told = scheduler.next_wake(now)
        exact = next_wake(
            scheduler.waiting,
            scheduler.residency,
            gather_seconds=scheduler.rules.gather_seconds,
            now=now,
        )
        exact = sooner(exact, scheduler.turns.next_wake())
        assert exact is None or (told is not None and told <= exact)

    def teardown(self) -> None:
        """Let the workers work: every request ends, and then there is nothing left to wake for."""
        world = self.world
        world.allow()
        for name in list(world.facts):
            world.scheduler.on_pin(name, pinned=False)
            world.perform(world.scheduler.on_hold(name, None, world.now))
        for turn in range(400):
            if not world.waiting and not any(each.serving for each in world.workers.values()):
                break
            # One that took minutes to load is spared for twice as long (`Slot.fresh_until`).
            world.work(0.1 if turn < 200 else 20.0)
        assert not world.waiting, f"left waiting: {world.waiting}"
        assert set(world.ended) == set(range(1, world.requests + 1))


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=250,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
