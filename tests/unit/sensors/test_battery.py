from pathlib import Path

import pytest
from fakes.board import SUPPLIES, FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import BatteryReading, BatteryState
from aiosd.sensors.battery import BatteryGauge, open_battery_meter, read_battery
from aiosd.sensors.kernel_file import SensorError

HOUR = 3600.0


def test_a_laptops_battery_is_read(tmp_path: Path) -> None:
    FakeBoard(tmp_path).battery().charger(online=False)
    assert read_battery(tmp_path) == BatteryReading(
        share=0.98, state=BatteryState.DISCHARGING, watts=4.83, charger=False
    )


def test_a_gauge_without_power_gives_current_times_voltage(tmp_path: Path) -> None:
    FakeBoard(tmp_path).battery(power_now=None, current_now=-400000, voltage_now=5000000)
    reading = read_battery(tmp_path)
    assert reading is not None
    assert reading.watts == pytest.approx(2.0)


def test_no_battery_is_none_and_not_full(tmp_path: Path) -> None:
    assert read_battery(tmp_path) is None
    FakeBoard(tmp_path).charger(online=True)
    assert read_battery(tmp_path) is None


@pytest.mark.parametrize("facts", [{"scope": "Device"}, {"present": 0}])
def test_a_mouses_battery_and_an_empty_bay_do_not_count(
    tmp_path: Path, facts: dict[str, object]
) -> None:
    FakeBoard(tmp_path).battery(**facts)
    assert read_battery(tmp_path) is None


@pytest.mark.parametrize("capacity", ["N/A", "", "-1", "101", "255"])
def test_an_impossible_share_is_unknown(tmp_path: Path, capacity: str) -> None:
    FakeBoard(tmp_path).battery(capacity=capacity)
    reading = read_battery(tmp_path)
    assert reading is not None
    assert reading.share is None


def test_two_batteries_count_as_their_emptier(tmp_path: Path) -> None:
    FakeBoard(tmp_path).battery("BAT0", capacity=80).battery("BAT1", capacity=20)
    reading = read_battery(tmp_path)
    assert reading is not None
    assert (reading.share, reading.watts) == (0.2, 9.66)


def test_two_batteries_that_do_different_things_have_no_power(tmp_path: Path) -> None:
    FakeBoard(tmp_path).battery("BAT0").battery("BAT1", status="Charging")
    reading = read_battery(tmp_path)
    assert reading is not None
    assert (reading.state, reading.watts) == (BatteryState.UNKNOWN, None)


def test_a_gauge_that_never_moves_while_it_discharges_is_stuck_after_an_hour(
    tmp_path: Path,
) -> None:
    board = FakeBoard(tmp_path).battery(power_now=None, voltage_now=None)
    gauge = BatteryGauge(tmp_path)
    readings = [gauge.read(now) for now in (0.0, HOUR - 1, HOUR)]
    assert [reading is not None and reading.stuck for reading in readings] == [False, False, True]
    board.battery(capacity=97, power_now=None, voltage_now=None)
    reading = gauge.read(HOUR + 1)
    assert reading is not None
    assert not reading.stuck


@pytest.mark.parametrize("status", ["Full", "Not charging", "Charging"])
def test_a_battery_that_rests_on_its_charger_is_not_stuck(tmp_path: Path, status: str) -> None:
    FakeBoard(tmp_path).battery(status=status, capacity=100, power_now=0)
    gauge = BatteryGauge(tmp_path)
    gauge.read(0.0)
    reading = gauge.read(100 * HOUR)
    assert reading is not None
    assert not reading.stuck


def test_a_hat_that_says_discharging_while_it_fills_is_not_believed(tmp_path: Path) -> None:
    board, gauge = FakeBoard(tmp_path), BatteryGauge(tmp_path)
    states = []
    for now, capacity in enumerate((60, 59, 60, 61, 62)):
        board.battery(capacity=capacity)
        reading = gauge.read(float(now))
        assert reading is not None
        states.append(reading.state)
    assert states == [BatteryState.DISCHARGING] * 3 + [BatteryState.UNKNOWN] * 2
    board.battery(capacity=62, status="Charging")
    gauge.read(6.0)
    board.battery(capacity=62)
    believed = gauge.read(7.0)
    assert believed is not None
    assert believed.state is BatteryState.DISCHARGING


def test_a_gauge_that_says_nothing_at_all_is_stuck_at_once(tmp_path: Path) -> None:
    FakeBoard(tmp_path).battery(capacity="N/A", status="Unknown")
    reading = BatteryGauge(tmp_path).read(0.0)
    assert reading is not None
    assert reading.stuck


def test_as_a_meter_it_gives_what_flows_out_and_nothing_while_it_charges(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).battery().charger(online=False)
    meter = open_battery_meter(PowerFacts(), tmp_path)
    assert meter.sample(1.0).watts == pytest.approx(4.83)
    board.charger(online=True)
    with pytest.raises(SensorError, match="does not discharge"):
        meter.sample(2.0)
    board.charger(online=False).battery(power_now=0, voltage_now=None)
    with pytest.raises(SensorError, match="no power"):
        meter.sample(3.0)


def test_without_a_battery_there_is_no_such_meter(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="no battery"):
        open_battery_meter(PowerFacts(), tmp_path)


def test_a_negotiated_limit_of_usb_is_no_reading(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {
            f"{SUPPLIES}/ucsi-source-psy-1/type": "USB",
            f"{SUPPLIES}/ucsi-source-psy-1/online": 1,
            f"{SUPPLIES}/ucsi-source-psy-1/current_now": 3000000,
            f"{SUPPLIES}/ucsi-source-psy-1/voltage_now": 20000000,
        }
    )
    assert read_battery(tmp_path) is None


words = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12)


@given(
    facts=st.fixed_dictionaries(
        {},
        optional={
            key: words | st.integers(-(10**9), 10**9).map(str)
            for key in (
                "type",
                "status",
                "capacity",
                "power_now",
                "current_now",
                "voltage_now",
                "scope",
            )
        },
    )
)
def test_any_files_are_a_battery_or_none(
    tmp_path_factory: pytest.TempPathFactory, facts: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("board")
    FakeBoard(root).write({f"{SUPPLIES}/BAT0/{key}": value for key, value in facts.items()})
    reading = BatteryGauge(root).read(0.0)
    if reading is not None:
        assert reading.share is None or 0 <= reading.share <= 1
        assert reading.watts is None or reading.watts >= 0
