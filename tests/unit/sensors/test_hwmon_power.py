from pathlib import Path

import pytest
from fakes.board import FakeBoard

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import EnergySource, Scope
from aiosd.sensors.hwmon_power import open_hwmon_power
from aiosd.sensors.kernel_file import SensorError

CHIP = "sys/class/hwmon/hwmon3"


def facts(*rails: str) -> PowerFacts:
    return PowerFacts(rails=dict.fromkeys(rails, "the supply"), total_rails=list(rails))


def test_a_chip_that_measures_power_is_read_by_its_label(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {f"{CHIP}/name": "ina226", f"{CHIP}/power1_label": "VIN", f"{CHIP}/power1_input": 4200000}
    )
    meter = open_hwmon_power(facts("VIN"), tmp_path)
    assert meter.sample(0.0).watts == pytest.approx(4.2)
    assert (meter.source, meter.scope) == (EnergySource.MEASURED_TOTAL, Scope.BOARD)


def test_a_channel_without_a_label_is_named_by_its_chip(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write({f"{CHIP}/name": "ina226", f"{CHIP}/power1_input": 4200000})
    assert open_hwmon_power(facts("ina226.power1"), tmp_path).rails == ("ina226.power1",)


def test_an_average_is_preferred_to_the_figure_of_the_moment(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {
            f"{CHIP}/name": "ina226",
            f"{CHIP}/power1_input": 9000000,
            f"{CHIP}/power1_average": 4000000,
        }
    )
    assert open_hwmon_power(facts("ina226.power1"), tmp_path).sample(0.0).watts == 4.0


def test_voltage_and_current_make_power(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {f"{CHIP}/name": "ina219", f"{CHIP}/in1_input": 12000, f"{CHIP}/curr1_input": 5000}
    )
    assert open_hwmon_power(facts("ina219.in1"), tmp_path).sample(0.0).watts == 60.0


def test_a_channel_that_is_switched_off_is_not_there(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {
            f"{CHIP}/name": "ina3221",
            f"{CHIP}/in3_enable": 0,
            f"{CHIP}/in3_input": 3300,
            f"{CHIP}/curr3_input": 500,
        }
    )
    with pytest.raises(SensorError, match="found: none"):
        open_hwmon_power(facts("ina3221.in3"), tmp_path)


def test_nothing_is_guessed_from_a_chip_that_the_profile_does_not_name(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write({f"{CHIP}/name": "amdgpu", f"{CHIP}/power1_average": 9000000})
    with pytest.raises(SensorError, match=r"found: amdgpu\.power1") as caught:
        open_hwmon_power(facts("VIN"), tmp_path)
    assert "power.rails" in caught.value.advice


def test_a_chip_that_fails_says_so(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.write({f"{CHIP}/name": "ina226"})
    board.break_file(f"{CHIP}/power1_input")
    meter = open_hwmon_power(facts("ina226.power1"), tmp_path)
    with pytest.raises(SensorError, match="Input/output error"):
        meter.sample(0.0)


def test_power_below_zero_counts_as_none(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write({f"{CHIP}/name": "ina226", f"{CHIP}/power1_input": -25000})
    assert open_hwmon_power(facts("ina226.power1"), tmp_path).sample(0.0).watts == 0.0


def test_a_channel_with_two_files_is_found_once(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {f"{CHIP}/name": "x", f"{CHIP}/power1_input": 1, f"{CHIP}/power1_average": 1}
    )
    with pytest.raises(SensorError, match=r"\(found: x\.power1\)"):
        open_hwmon_power(facts("VIN"), tmp_path)
