"""The fit of an owner's readings: never negative, monotone, and the planted model comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.calibration import Load, Observation
from aiosd.policy.energy.calibration import (
    UnusableReadingsError,
    doubts,
    fit,
    least_squares,
    misfits,
)

IDLE = 2.0
# kHz, and the watts of one busy core there.
CURVE = ((600_000, 0.3), (1_200_000, 0.7), (1_800_000, 1.4))


def idle(watts: float = IDLE) -> Observation:
    return Observation("idle", watts)


def loaded(watts: float, cores: float = 1.0, khz: int = 1_800_000) -> Observation:
    return Observation(f"{cores:g} cores", watts, (Load("policy0", cores, khz),))


def planted(cores: float, khz: int) -> Observation:
    return loaded(IDLE + cores * dict(CURVE)[khz], cores, khz)


GOOD = [idle(), *(planted(cores, khz) for khz, _ in CURVE for cores in (1.0, 4.0))]


def test_the_planted_model_comes_back() -> None:
    found = fit(GOOD)
    assert found.idle_watts == pytest.approx(IDLE)
    [cost] = found.policies
    assert cost.policy == "policy0"
    assert [khz for khz, _ in cost.curve()] == [khz for khz, _ in CURVE]
    assert [watts for _, watts in cost.curve()] == pytest.approx([watts for _, watts in CURVE])
    assert found.residual_watts == pytest.approx(0.0, abs=1e-6)
    assert misfits(GOOD, found) == []


def test_two_clock_groups_are_told_apart_by_who_was_busy() -> None:
    def both(little: float, big: float) -> Observation:
        loads = (Load("policy0", little, 1_800_000), Load("policy4", big, 2_400_000))
        return Observation("both", 3.0 + 0.5 * little + 2.0 * big, loads)

    found = fit([idle(3.0), both(4.0, 0.02), both(0.01, 2.0), both(4.0, 4.0)])
    prices = {cost.policy: cost.curve()[-1][1] for cost in found.policies}
    assert prices == pytest.approx({"policy0": 0.5, "policy4": 2.0}, rel=0.01)


adds = st.lists(st.floats(0.06, 5.0), min_size=1, max_size=5)


@given(idle_watts=st.floats(0.2, 20.0), adds=adds, cores=st.integers(1, 8))
def test_any_planted_model_comes_back(idle_watts: float, adds: list[float], cores: int) -> None:
    clocks = [500_000 * (1 + place) for place in range(len(adds))]
    readings = [idle(idle_watts)]
    for place, khz in enumerate(clocks):
        price = sum(adds[: place + 1])
        readings += [loaded(idle_watts + n * price, n, khz) for n in (1, cores)]
    found = fit(readings)
    assert found.idle_watts == pytest.approx(idle_watts, rel=1e-4, abs=1e-4)
    assert [point.add_watts for point in found.policies[0].points] == pytest.approx(
        adds, rel=1e-3, abs=1e-3
    )


readings = st.lists(
    st.tuples(
        st.floats(0.1, 50.0),
        st.floats(0.3, 8.0),
        st.sampled_from([600_000, 900_000, 1_800_000, 2_400_000]),
    ),
    min_size=1,
    max_size=12,
)


@given(readings=readings, base=st.floats(0.1, 20.0))
def test_no_reading_makes_a_negative_watt_or_a_faster_core_cheaper(
    readings: list[tuple[float, float, int]], base: float
) -> None:
    try:
        found = fit([idle(base), *(loaded(*each) for each in readings)])
    except UnusableReadingsError:
        assert max(watts for watts, _, _ in readings) < base + 0.05
        return
    assert found.idle_watts > 0
    for cost in found.policies:
        watts = [watts for _, watts in cost.curve()]
        assert watts == sorted(watts)
        assert all(point.add_watts >= 0 for point in cost.points)


@given(
    rows=st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=3), min_size=3, max_size=6),
    planted=st.lists(st.floats(0, 4), min_size=3, max_size=3),
    other=st.lists(st.floats(0, 4), min_size=3, max_size=3),
)
def test_no_other_non_negative_answer_is_closer(
    rows: list[list[float]], planted: list[float], other: list[float]
) -> None:
    values = [sum(a * x for a, x in zip(row, planted, strict=True)) + 0.5 for row in rows]

    def loss(x: list[float]) -> float:
        return sum(
            (sum(a * b for a, b in zip(row, x, strict=True)) - value) ** 2
            for row, value in zip(rows, values, strict=True)
        )

    found = least_squares(rows, values)
    assert min(found) >= 0
    assert loss(found) <= loss(other) + 1e-5
    assert loss(found) <= loss(planted) + 1e-5


@pytest.mark.parametrize(
    ("observations", "said"),
    [
        ([planted(1.0, 600_000)], "no reading of the idle"),
        ([idle(), idle()], "no reading under load"),
        ([], "no reading of the idle"),
        ([idle(), loaded(2.0), loaded(2.03, 4.0)], "is the meter between this board and"),
    ],
)
def test_too_few_readings_are_refused_with_what_is_missing(
    observations: list[Observation], said: str
) -> None:
    with pytest.raises(UnusableReadingsError, match=said):
        fit(observations)


@pytest.mark.parametrize(
    ("observations", "index", "said"),
    [
        ([idle(), loaded(1.5)], 1, "1.50 W under load is less than the 2.00 W of the idle"),
        ([idle(), loaded(float("nan"))], 1, "no board's power"),
        ([idle(0.0), loaded(3.0)], 0, "no board's power"),
        ([idle(), loaded(30000.0)], 1, "no board's power"),
        ([idle(), idle(3.1), idle(2.01)], 1, "was something running"),
    ],
)
def test_a_reading_that_is_nonsense_is_named(
    observations: list[Observation], index: int, said: str
) -> None:
    [doubt] = doubts(observations)
    assert doubt.index == index
    assert said in doubt.why


def test_good_readings_raise_no_doubt_and_a_digit_below_the_idle_is_none() -> None:
    assert doubts(GOOD) == []
    assert doubts([idle(2.00), loaded(1.97)]) == []


def test_a_mistyped_reading_is_the_one_that_does_not_fit() -> None:
    wrong = [*GOOD]
    wrong[4] = loaded(8.4, 4.0, 1_200_000)
    worst = misfits(wrong, fit(wrong))
    assert worst[0].index == 4
    assert "above what the rest say" in worst[0].why
