from pathlib import Path

import pytest
from fakes.board import CHIPS, FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import EnergySource, Scope
from aiosd.sensors.ina3221 import open_ina3221
from aiosd.sensors.kernel_file import SensorError

ORIN_NANO = PowerFacts(
    rails={"VDD_IN": "all", "VDD_CPU_GPU_CV": "cores", "VDD_SOC": "rest"},
    total_rails=["VDD_IN"],
    scope=Scope.MODULE,
)
AGX_ORIN = PowerFacts(
    rails=dict.fromkeys(["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"], "")
)
DESCRIPTORS = Path("/proc/self/fd")
CHIP = f"{CHIPS}/1-0040/hwmon/hwmon1"


def test_the_total_is_the_rail_that_the_profile_names_and_no_other(tmp_path: Path) -> None:
    FakeBoard(tmp_path).orin_nano()
    meter = open_ina3221(ORIN_NANO, tmp_path)
    sample = meter.sample(7.0)
    assert sample.watts == pytest.approx(5.072 * 1.064)
    assert (sample.at_seconds, meter.source) == (7.0, EnergySource.MEASURED_TOTAL)
    assert (meter.scope, meter.rails) == (Scope.MODULE, ("VDD_IN",))


def test_a_step_is_8_milliamperes_at_the_rails_voltage_and_8_millivolts(tmp_path: Path) -> None:
    FakeBoard(tmp_path).orin_nano()
    meter = open_ina3221(ORIN_NANO, tmp_path)
    sample = meter.sample(0.0)
    assert meter.step_watts == pytest.approx(5.072 * 0.008 + 1.064 * 0.008)
    assert sample.uncertainty_watts > 0.03 * sample.watts


def test_another_shunt_changes_the_step_and_not_the_figure(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).orin_nano()
    board.write({f"{CHIP}/shunt1_resistor": "2500\n"})
    meter = open_ina3221(ORIN_NANO, tmp_path)
    assert meter.sample(0.0).watts == pytest.approx(5.072 * 1.064)
    assert meter.step_watts == pytest.approx(5.072 * 0.016 + 1.064 * 0.008)


@pytest.mark.parametrize(("chip", "hwmon"), [("7-0040", "hwmon4"), ("1-0040", "hwmon0")])
def test_bus_and_hwmon_number_may_be_any(tmp_path: Path, chip: str, hwmon: str) -> None:
    FakeBoard(tmp_path).ina3221([("VDD_IN", 5000, 2000)], chip=chip, hwmon=hwmon)
    assert open_ina3221(ORIN_NANO, tmp_path).sample(0.0).watts == pytest.approx(10.0)


def test_an_agx_orin_gives_the_sum_of_its_rails_and_says_so(tmp_path: Path) -> None:
    FakeBoard(tmp_path).agx_orin()
    meter = open_ina3221(AGX_ORIN, tmp_path)
    assert meter.sample(0.0).watts == pytest.approx(3.0 + 1.0 + 3.0 + 0.5)
    assert (meter.source, meter.scope) == (EnergySource.MEASURED_PARTIAL, Scope.RAILS)
    assert meter.rails == tuple(AGX_ORIN.rails)


def test_unwired_channels_that_answer_with_an_error_are_left_alone(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).agx_orin()
    broken = board.root / CHIPS / "1-0041/hwmon/hwmon2/in1_input"
    with pytest.raises(OSError, match="Input/output error"):
        broken.read_bytes()
    assert len(open_ina3221(AGX_ORIN, tmp_path).sample(0.0).rails) == 4


def test_a_channel_that_is_switched_off_is_no_rail(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).agx_orin()
    board.write({f"{CHIP}/in3_enable": "0\n"})
    assert "VIN_SYS_5V0" not in open_ina3221(AGX_ORIN, tmp_path).rails


def test_jetpack_4_is_read_by_its_own_driver(tmp_path: Path) -> None:
    FakeBoard(tmp_path).jetpack_4()
    facts = PowerFacts(
        rails={"POM_5V_IN": "all", "POM_5V_CPU": "cpu"},
        total_rails=["POM_5V_IN"],
        scope=Scope.MODULE,
    )
    meter = open_ina3221(facts, tmp_path)
    assert meter.sample(0.0).watts == pytest.approx(0.93)
    assert meter.source is EnergySource.MEASURED_TOTAL


def test_a_total_whose_rail_is_missing_is_refused_with_what_was_found(tmp_path: Path) -> None:
    FakeBoard(tmp_path).ina3221([("VDD_CPU_GPU_CV", 5000, 100), ("VDD_SOC", 5000, 100)])
    with pytest.raises(SensorError, match=r"missing: VDD_IN \(found: VDD_CPU_GPU_CV, VDD_SOC\)"):
        open_ina3221(ORIN_NANO, tmp_path)


def test_a_board_without_the_chip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="no INA3221"):
        open_ina3221(ORIN_NANO, tmp_path)


def test_a_rail_that_fails_makes_the_sample_fail_and_never_smaller(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).agx_orin()
    meter = open_ina3221(AGX_ORIN, tmp_path)
    board.write({f"{CHIP}/curr1_input": "N/A\n"})
    with pytest.raises(SensorError, match="'N/A' is no number"):
        meter.sample(1.0)
    board.write({f"{CHIP}/curr1_input": "150\n"})
    assert meter.sample(2.0).watts == pytest.approx(7.5)


@pytest.mark.parametrize("text", ["", "\n", "N/A", "0x10", "5.0", "nan", "--3", "٣"])
def test_what_is_no_number_is_an_error(tmp_path: Path, text: str) -> None:
    board = FakeBoard(tmp_path).orin_nano()
    meter = open_ina3221(ORIN_NANO, tmp_path)
    board.write({f"{CHIP}/in1_input": text})
    with pytest.raises(SensorError):
        meter.sample(0.0)


def test_a_current_below_zero_counts_as_none(tmp_path: Path) -> None:
    FakeBoard(tmp_path).ina3221([("VDD_IN", 5000, -8)])
    assert open_ina3221(ORIN_NANO, tmp_path).sample(0.0).watts == 0.0


def test_closing_a_meter_gives_every_descriptor_back(tmp_path: Path) -> None:
    FakeBoard(tmp_path).agx_orin()
    before = len(list(DESCRIPTORS.iterdir()))
    meter = open_ina3221(AGX_ORIN, tmp_path)
    assert len(list(DESCRIPTORS.iterdir())) == before + 8
    meter.close()
    with pytest.raises(SensorError):
        open_ina3221(PowerFacts(rails={"X": ""}, total_rails=["X"]), tmp_path)
    assert len(list(DESCRIPTORS.iterdir())) == before


@given(millivolts=st.integers(0, 26_000), milliamperes=st.integers(0, 20_000))
def test_watts_are_volts_by_amperes(
    tmp_path_factory: pytest.TempPathFactory, millivolts: int, milliamperes: int
) -> None:
    root = tmp_path_factory.mktemp("board")
    FakeBoard(root).ina3221([("VDD_IN", millivolts, milliamperes)])
    meter = open_ina3221(ORIN_NANO, root)
    sample = meter.sample(0.0)
    meter.close()
    assert sample.watts == pytest.approx(millivolts * milliamperes / 1e6)
    assert 0 <= sample.uncertainty_watts <= 0.03 * sample.watts + meter.step_watts


def test_the_links_that_sysfs_is_made_of_are_followed(tmp_path: Path) -> None:
    FakeBoard(tmp_path).orin_nano()
    chip = tmp_path / CHIPS / "1-0040"
    (tmp_path / "sys/devices").mkdir()
    chip.rename(tmp_path / "sys/devices/1-0040")
    chip.symlink_to("../../../../devices/1-0040")
    assert open_ina3221(ORIN_NANO, tmp_path).sample(0.0).watts == pytest.approx(5.072 * 1.064)
