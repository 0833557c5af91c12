import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import (
    BatteryRules,
    BatteryStep,
    Correction,
    HeatRules,
    HeatStep,
    PowerFacts,
)
from aiosd.domain.power import BatteryReading, BatteryState


def test_hotter_never_leaves_more_of_the_cap() -> None:
    rules = HeatRules()
    factors = [rules.factor(celsius) for celsius in (20.0, 74.9, 75.0, 80.0, 85.0, 140.0)]
    assert factors == [1.0, 1.0, 0.8, 0.6, 0.4, 0.4]


@given(first=st.floats(-40, 150), second=st.floats(-40, 150))
def test_heat_factors_fall_with_any_temperature(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert HeatRules().factor(low) >= HeatRules().factor(high)


@pytest.mark.parametrize("second", [(70.0, 0.5), (69.0, 0.5), (75.0, 0.9)])
def test_heat_steps_out_of_order_are_refused(second: tuple[float, float]) -> None:
    steps = [
        HeatStep(at_celsius=70.0, watts_factor=0.8),
        HeatStep(at_celsius=second[0], watts_factor=second[1]),
    ]
    with pytest.raises(ValueError, match="grow hotter and never allow more"):
        HeatRules(steps=steps)


@pytest.mark.parametrize(
    ("share", "factor"), [(1.0, 1.0), (0.5, 1.0), (0.49, 0.8), (0.29, 0.6), (0.14, 0.4), (0.0, 0.4)]
)
def test_a_battery_that_empties_lowers_the_cap_and_a_charger_lifts_it(
    share: float, factor: float
) -> None:
    alone = BatteryReading(share=share, state=BatteryState.DISCHARGING)
    plugged = BatteryReading(share=share, state=BatteryState.DISCHARGING, charger=True)
    assert (BatteryRules().factor(alone), BatteryRules().factor(plugged)) == (factor, 1.0)


@pytest.mark.parametrize(
    "battery",
    [
        None,
        BatteryReading(share=0.1, state=BatteryState.DISCHARGING, stuck=True),
        BatteryReading(share=0.1, state=BatteryState.UNKNOWN),
        BatteryReading(share=None, state=BatteryState.DISCHARGING),
    ],
)
def test_a_battery_that_is_missing_unknown_or_stuck_changes_nothing(
    battery: BatteryReading | None,
) -> None:
    assert BatteryRules().factor(battery) == 1.0


def test_battery_steps_out_of_order_are_refused() -> None:
    steps = [
        BatteryStep(below_share=0.3, watts_factor=0.6),
        BatteryStep(below_share=0.5, watts_factor=0.5),
    ]
    with pytest.raises(ValueError, match="grow emptier"):
        BatteryRules(steps=steps)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"total_rails": ["A"]}, "names 'A'"),
        ({"idle_watts": 2.0}, "come together"),
        ({"idle_watts": 2.0, "load_watts": 1.0}, "less than idle"),
        (
            {
                "rails": {"A": "all"},
                "total_rails": ["A"],
                "correction": Correction(scale=1.1, offset_watts=0.5, uncertainty_share=0.1),
            },
            "needs no correction",
        ),
    ],
)
def test_facts_that_contradict_each_other_are_refused(
    facts: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PowerFacts(**facts)  # type: ignore[arg-type]
