"""When the machine is short of memory, and who leaves then."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.memory.eviction import Candidate, Step, Victim, Way, worth
from aiosd.policy.memory.governor import Resident
from aiosd.policy.memory.pressure import (
    AT_ONCE,
    CALM_SECONDS,
    PAUSE_SECONDS,
    MemoryPressure,
    PressureRules,
    relief,
)

MIB = 2**20
RULES = PressureRules.of(1024 * MIB)


def test_short_is_a_twentieth_of_the_ram_within_bounds() -> None:
    assert PressureRules.of(1024 * MIB).low_bytes == 53_687_091
    assert PressureRules.of(128 * MIB).low_bytes == 24 * MIB
    assert PressureRules.of(64 * 1024 * MIB).low_bytes == 256 * MIB
    assert RULES.low_bytes < RULES.high_bytes < RULES.stall_bytes


def test_a_machine_that_does_not_say_is_never_short() -> None:
    pressure = MemoryPressure(PressureRules.of(0))
    assert not pressure.on_reading(0, 1.0, stalled=True)
    assert pressure.lacks(0, 0) == 0


def test_between_the_two_marks_it_stays_as_it_was() -> None:
    pressure = MemoryPressure(RULES)
    middle = (RULES.low_bytes + RULES.high_bytes) // 2
    assert not pressure.on_reading(middle, 0.0)
    assert pressure.on_reading(RULES.low_bytes - 1, 10.0)
    assert pressure.on_reading(middle, 20.0)
    assert not pressure.on_reading(RULES.high_bytes, 30.0)
    assert not pressure.on_reading(middle, 40.0)


def test_a_stall_counts_until_it_has_been_calm_for_a_while() -> None:
    pressure = MemoryPressure(RULES)
    little = RULES.stall_bytes - 1
    assert pressure.on_reading(little, 0.0, stalled=True)
    assert pressure.on_reading(little, CALM_SECONDS - 1)
    assert not pressure.on_reading(little, CALM_SECONDS)
    assert not pressure.short


def test_a_stall_with_much_memory_left_is_somebody_elses() -> None:
    pressure = MemoryPressure(RULES)
    assert not pressure.on_reading(RULES.stall_bytes, 0.0, stalled=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 1024 * MIB), st.floats(0.01, 5.0), st.booleans()), max_size=60
    )
)
def test_nobody_is_let_go_twice_within_a_pause_nor_while_there_is_plenty(
    readings: list[tuple[int, float, bool]],
) -> None:
    pressure, now, last, stall = MemoryPressure(RULES), 0.0, -10.0, -100.0
    for available, seconds, stalled in readings:
        now += seconds
        if stalled and available < RULES.stall_bytes:
            stall = now
        if pressure.on_reading(available, now, stalled=stalled):
            assert now - last >= PAUSE_SECONDS
            assert available < RULES.high_bytes or now - stall < CALM_SECONDS
            last = now


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_load_must_leave_more_than_what_is_short(need: int, available: int) -> None:
    lacking = MemoryPressure(RULES).lacks(need, available)
    assert (lacking == 0) == (available - need >= RULES.low_bytes)
    assert MemoryPressure(RULES).lacks(need, available + lacking) == 0


residents = st.lists(
    st.builds(
        Resident,
        st.builds(
            Candidate,
            st.uuids().map(str),
            st.integers(1, 500 * MIB),
            st.floats(0.001, 10),
            st.floats(0, 100),
        ),
        busy=st.booleans(),
        pinned=st.booleans(),
        leaving=st.booleans(),
        wanted=st.booleans(),
    ),
    max_size=12,
)


@given(residents)
def test_few_leave_at_a_time_and_those_of_least_worth_first(everybody: list[Resident]) -> None:
    gone = relief(everybody)
    idle = [each for each in everybody if not (each.busy or each.pinned or each.leaving)]
    idle = [each for each in idle if not each.wanted]
    assert len(gone) == min(AT_ONCE, len(idle))
    by_name = {each.candidate.expert: each.candidate for each in idle}
    assert {each.expert for each in gone} <= by_name.keys()
    least = min(map(price, by_name.values()), default=0.0)
    assert all(price(by_name[each.expert]) == least for each in gone)
    assert all(each.step is Step.PROCESS for each in gone)


def price(each: Candidate) -> float:
    return worth(each.frequency, each.reload_seconds, each.bytes)


def test_contexts_are_given_back_before_anybody_leaves() -> None:
    context = Way(Step.CONTEXT, 30 * MIB, 0.03)
    pages = Way(Step.PAGES, 90 * MIB, 0.04)
    cheap = Resident(Candidate("cheap", 100 * MIB, 0.01, 0.0))
    often = Resident(Candidate("often", 100 * MIB, 2.0, 50.0, (context, pages)))
    parked = Resident(Candidate("parked", 70 * MIB, 2.0, 1.0, (pages,)))
    assert relief([cheap, often, parked]) == [Victim("often", Step.CONTEXT, 30 * MIB)]
    assert relief([cheap, parked]) == [Victim("cheap", Step.PROCESS, 100 * MIB)]
