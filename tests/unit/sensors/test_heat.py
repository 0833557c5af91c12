from pathlib import Path

import pytest
from fakes.board import FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.power import HeatReading
from aiosd.sensors.heat import Thermometer


def test_zones_are_known_by_type_and_listed_hottest_first(tmp_path: Path) -> None:
    FakeBoard(tmp_path).zones(("cpu-thermal", 47375), ("tj-thermal", 48125))
    assert Thermometer(tmp_path).read() == (
        HeatReading("tj-thermal", 48.125),
        HeatReading("cpu-thermal", 47.375),
    )


def test_an_index_that_changes_changes_nothing(tmp_path: Path) -> None:
    FakeBoard(tmp_path / "a").zones(("gpu-thermal", 60000), ("cpu-thermal", 50000))
    FakeBoard(tmp_path / "b").zones(("cpu-thermal", 50000), ("gpu-thermal", 60000))
    wanted = ["cpu-thermal"]
    readings = [Thermometer(tmp_path / board, wanted).read() for board in "ab"]
    assert readings == [(HeatReading("cpu-thermal", 50.0),)] * 2


@pytest.mark.parametrize("temp", [-256000, -44000, 150001, "N/A", "", "-2147483648"])
def test_a_sensor_that_is_off_or_mad_has_no_reading(tmp_path: Path, temp: object) -> None:
    FakeBoard(tmp_path).zones(("cv0-thermal", temp), ("cpu-thermal", 49925))
    assert Thermometer(tmp_path).read() == (HeatReading("cpu-thermal", 49.925),)


def test_two_zones_of_one_type_count_as_the_hotter(tmp_path: Path) -> None:
    FakeBoard(tmp_path).zones(("acpitz", 30000), ("acpitz", 50000), ("acpitz", 20000))
    assert Thermometer(tmp_path).read() == (HeatReading("acpitz", 50.0),)


def test_types_that_are_not_there_are_told(tmp_path: Path) -> None:
    FakeBoard(tmp_path).zones(("cpu-thermal", 50000))
    thermometer = Thermometer(tmp_path, ["CPU-therm", "cpu-thermal"])
    assert thermometer.missing == {"CPU-therm"}
    assert len(thermometer.read()) == 1


def test_a_zone_that_fails_is_left_out_and_comes_back(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).zones(("cpu-thermal", 50000), ("gpu-thermal", 60000))
    board.break_file("sys/class/thermal/thermal_zone1/temp")
    thermometer = Thermometer(tmp_path)
    assert [reading.zone for reading in thermometer.read()] == ["cpu-thermal"]
    board.zones(("cpu-thermal", 50000), ("gpu-thermal", 60000))
    thermometer.read()
    assert [reading.zone for reading in thermometer.read()] == ["gpu-thermal", "cpu-thermal"]


def test_a_board_without_zones_has_no_readings(tmp_path: Path) -> None:
    assert Thermometer(tmp_path).read() == ()


@given(st.integers(-300_000, 300_000))
def test_what_is_believed_lies_in_the_range(
    tmp_path_factory: pytest.TempPathFactory, temp: int
) -> None:
    root = tmp_path_factory.mktemp("board")
    FakeBoard(root).zones(("cpu-thermal", temp))
    thermometer = Thermometer(root)
    expected = (HeatReading("cpu-thermal", temp / 1000),) if -40_000 <= temp <= 150_000 else ()
    assert thermometer.read() == expected
    thermometer.close()
