"""Each fault of the simulated board: what the reader says, and that it recovers."""

from pathlib import Path

import pytest
from fakes.simulated import Simulated

from aiosd.domain.power import (
    BatteryState,
    CounterSample,
    EnergySource,
    NoSample,
    PowerSample,
    Scope,
)
from aiosd.sensors.battery import BatteryGauge, read_battery
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.heat import Thermometer
from aiosd.sensors.throttle import ThrottleGauge
from tools.boardsim.faults import Fault, parse_faults
from tools.boardsim.live import Start
from tools.boardsim.shapes import SHAPES

METERED = [
    "rpi5",
    "nano",
    "xavier-nx",
    "orin-nano",
    "orin-nx",
    "agx-orin",
    "n100",
    "generic",
]


def begin(name: str, root: Path, *faults: Fault, battery: float | None = None) -> Simulated:
    return Simulated(name, root, Start(battery=battery, faults=frozenset(faults)))


def reason_of(board: Simulated) -> str:
    sample = board.sample()
    assert isinstance(sample, NoSample)
    return sample.reason


def comes_and_goes(board: Simulated, fault: Fault) -> list[str]:
    """Turn a fault on for 12 s and off again; return the reasons, and check the recovery."""
    board.open_meter()
    assert not isinstance(board.sample(), NoSample)
    board.live.tree.set("faults", fault)
    board.go(0.5)
    reasons = [reason_of(board)]
    board.go(12.0)
    reasons.append(reason_of(board))
    board.live.tree.set("faults", "")
    board.go(12.0)
    # Opened anew at the latest 10 s after the last try.
    if isinstance(board.sample(), NoSample):
        board.go(12.0)
    assert not isinstance(board.sample(), NoSample)
    return reasons


@pytest.mark.parametrize("name", METERED)
def test_io_errors_are_told_and_the_meter_recovers(name: str, tmp_path: Path) -> None:
    first, later = comes_and_goes(begin(name, tmp_path), Fault.IO_ERROR)
    if name == "rpi5":
        assert "no answer to 'pmic_read_adc'" in first
        assert first == later
    else:
        assert first.endswith(": empty")
        assert later.endswith(": Input/output error")


@pytest.mark.parametrize("name", METERED)
def test_a_meter_that_says_not_available_is_no_figure_and_recovers(
    name: str, tmp_path: Path
) -> None:
    first, later = comes_and_goes(begin(name, tmp_path), Fault.NOT_AVAILABLE)
    expected = "lacks" if name == "rpi5" else "'N/A' is no number"
    assert expected in first
    assert expected in later or "rails missing" in later


@pytest.mark.parametrize("name", METERED)
def test_a_rail_that_disappears_is_no_thrift_and_comes_back(name: str, tmp_path: Path) -> None:
    first, later = comes_and_goes(begin(name, tmp_path), Fault.RAIL_GONE)
    if name == "rpi5":
        assert "lacks VDD_CORE" in first
    else:
        assert first.endswith(": empty")
    assert later


@pytest.mark.parametrize("name", ["rpi5", "orin-nano", "nano", "n100"])
def test_a_board_whose_total_is_missing_falls_back_to_the_model_and_says_why(
    name: str, tmp_path: Path
) -> None:
    board = begin(name, tmp_path, Fault.MISSING_RAILS)
    meter = board.open_meter()
    assert meter.source is EnergySource.DEFAULT_MODEL
    assert len(meter.passed_over) == 1
    told = meter.passed_over[0].reason
    assert told.startswith(("rails missing: ", "no RAPL zone package-0"))
    true, read, stated = board.measure([(30.0, 2.0)])
    assert abs(read - true) <= stated
    board.live.tree.set("faults", "")
    board.go(0.5)
    assert board.open_meter().name in {"rpi-pmic", "ina3221", "rapl"}


def test_a_sum_of_rails_without_one_of_them_names_those_it_has(tmp_path: Path) -> None:
    board = begin("agx-orin", tmp_path, Fault.MISSING_RAILS)
    meter = board.open_meter()
    assert meter.rails == ("VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")


@pytest.mark.parametrize("name", ["xavier-nx", "orin-nx"])
def test_a_board_whose_total_is_missing_and_that_has_no_figures_says_so(
    name: str, tmp_path: Path
) -> None:
    meter = begin(name, tmp_path, Fault.MISSING_RAILS).open_meter()
    assert meter.source is EnergySource.NONE
    assert [each.name for each in meter.passed_over] == ["ina3221", "default-model"]
    assert meter.passed_over[0].reason.startswith("rails missing: VDD_IN")


@pytest.mark.parametrize("name", ["n100", "generic"])
def test_a_counter_that_wraps_loses_nothing(name: str, tmp_path: Path) -> None:
    board = begin(name, tmp_path, Fault.RAPL_WRAP)
    board.open_meter()
    energy = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    before = int(energy.read_text())
    true, read, _ = board.measure([(30.0, 4.0)])
    assert int(energy.read_text()) < before
    assert read == pytest.approx(true, rel=0.001)


def test_noise_is_within_the_error_over_a_minute(tmp_path: Path) -> None:
    board = begin("orin-nano", tmp_path, Fault.NOISE)
    board.open_meter()
    samples = []
    for _ in range(60):
        board.go(0.5, 2.0)
        samples.append(board.sample())
    watts = [sample.watts for sample in samples if isinstance(sample, PowerSample)]
    assert max(watts) > 1.1 * min(watts)
    true = board.live.state.watts[Scope.MODULE]
    assert sum(watts) / len(watts) == pytest.approx(true, rel=0.04)


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("fault", [Fault.DEAD_ZONES, Fault.NOT_AVAILABLE])
def test_zones_that_are_off_have_no_temperature_and_come_back(
    fault: Fault, name: str, tmp_path: Path
) -> None:
    board = begin(name, tmp_path, fault)
    thermometer = Thermometer(tmp_path)
    assert thermometer.read() == ()
    board.live.tree.set("faults", "")
    board.go(0.5)
    assert thermometer.read()[0].celsius == pytest.approx(board.live.state.celsius, abs=0.5)


@pytest.mark.parametrize("name", ["rpi3", "rpi4", "rpi5"])
def test_a_sagging_supply_sets_its_bits_slows_the_board_and_stays_remembered(
    name: str, tmp_path: Path
) -> None:
    board = begin(name, tmp_path)
    gauge = ThrottleGauge(tmp_path)
    clocks = board.live.tree.board.shape.clusters[0].khz
    board.go(1.0, 4.0)
    assert board.live.state.khz == (clocks[-1],)
    board.live.tree.set("faults", Fault.UNDER_VOLTAGE)
    board.go(1.0, 4.0)
    bits = gauge.read()
    assert bits is not None
    assert (bits.under_voltage, bits.frequency_capped, bits.throttled) == (True, True, False)
    assert board.live.state.khz == (clocks[0],)
    board.live.tree.set("faults", "")
    board.go(1.0, 4.0)
    bits = gauge.read()
    assert bits is not None
    assert (bits.under_voltage, bits.had_under_voltage) == (False, True)


def test_a_zero_never_notices_its_supply(tmp_path: Path) -> None:
    board = begin("zero2w", tmp_path, Fault.UNDER_VOLTAGE)
    board.go(1.0, 4.0)
    bits = ThrottleGauge(tmp_path).read()
    assert bits is not None
    assert bits.under_voltage is False


@pytest.mark.parametrize("name", ["zero2w", "rpi4", "rk3566", "n100", "generic"])
def test_a_battery_that_does_not_move_is_stuck_after_an_hour_and_recovers(
    name: str, tmp_path: Path
) -> None:
    board = begin(name, tmp_path, battery=0.8)
    gauge = BatteryGauge(tmp_path)
    board.go(1.0)
    reading = gauge.read(board.live.now)
    assert reading is not None
    assert not reading.stuck
    board.live.tree.set("faults", Fault.STUCK_BATTERY)
    stuck = []
    for _ in range(14):
        board.go(300.0, 1.0, dt=5.0)
        reading = gauge.read(board.live.now)
        assert reading is not None
        stuck.append(reading.stuck)
    assert stuck[0] is False
    assert stuck[-1] is True
    board.live.tree.set("faults", "")
    board.go(5.0, dt=5.0)
    reading = gauge.read(board.live.now)
    assert reading is not None
    assert not reading.stuck
    assert reading.share == pytest.approx(board.live.state.battery, abs=0.01)


def test_a_gauge_that_says_discharging_while_it_fills_is_not_believed(tmp_path: Path) -> None:
    board = begin("rpi4", tmp_path, Fault.LYING_BATTERY, battery=0.5)
    board.live.tree.set("charger", "1")
    gauge = BatteryGauge(tmp_path)
    states = []
    for _ in range(10):
        board.go(120.0, dt=5.0)
        reading = gauge.read(board.live.now)
        assert reading is not None
        states.append(reading.state)
    assert states[0] is BatteryState.DISCHARGING
    assert states[-1] is BatteryState.UNKNOWN


def test_a_clock_that_is_unknown_leaves_the_counts(tmp_path: Path) -> None:
    board = begin("rpi4", tmp_path, Fault.UNKNOWN_CLOCK)
    gauge = CpuGauge(tmp_path)
    before = gauge.read(board.live.now)
    board.go(2.0, 4.0)
    after = gauge.read(board.live.now)
    assert after.policies[0].current_khz == 0
    assert sum(
        b - a for (_, a), (_, b) in zip(before.busy_seconds, after.busy_seconds, strict=True)
    ) == pytest.approx(8.0)


def test_without_rapl_a_battery_measures_what_the_board_takes(tmp_path: Path) -> None:
    board = begin("generic", tmp_path, Fault.MISSING_RAILS, battery=0.9)
    meter = board.open_meter()
    assert meter.source is EnergySource.BATTERY
    true, read, stated = board.measure([(30.0, 1.0)])
    assert abs(read - true) <= stated
    board.live.tree.set("charger", "1")
    board.go(0.5)
    assert reason_of(board).startswith("the battery does not discharge")
    battery = read_battery(tmp_path)
    assert battery is not None
    assert battery.charger is True
    board.live.tree.set("charger", "0")
    board.go(0.5)
    assert isinstance(board.sample(), PowerSample)


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no fault 'gremlins'; there are missing-rails"):
        parse_faults("noise gremlins")


def test_a_fault_that_does_not_exist_leaves_the_board_running(tmp_path: Path) -> None:
    board = begin("n100", tmp_path)
    board.open_meter()
    board.live.tree.set("faults", "gremlins")
    board.go(1.0)
    assert "gremlins" in board.live.error
    assert isinstance(board.sample(), CounterSample)
