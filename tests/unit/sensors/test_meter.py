from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fakes.board import CHIPS, POWERCAP, FakeBoard, pmic_text

from aiosd.boards.profiles import read_profile
from aiosd.domain.board import PowerFacts
from aiosd.domain.calibration import Calibration, Point, PolicyCost
from aiosd.domain.power import CounterSample, EnergySource, NoSample, PowerSample, Scope
from aiosd.sensors.meter import METERS, OpenMeter, open_meter

CHIP = f"{CHIPS}/1-0040/hwmon/hwmon1"
DESCRIPTORS = Path("/proc/self/fd")
CURRENT = f"{CHIP}/curr1_input"


def nothing(_board: FakeBoard) -> None:
    """The kernel shows no instrument."""


def orin(board: FakeBoard) -> None:
    board.orin_nano()


def agx(board: FakeBoard) -> None:
    board.agx_orin()


def nano(board: FakeBoard) -> None:
    board.jetpack_4()


def pi_5(board: FakeBoard) -> None:
    board.firmware({"pmic_read_adc": pmic_text()})


def n100(board: FakeBoard) -> None:
    board.rapl(count=7)


def laptop(board: FakeBoard) -> None:
    board.battery()


TOTAL, PARTIAL = EnergySource.MEASURED_TOTAL, EnergySource.MEASURED_PARTIAL
MODEL, NONE = EnergySource.DEFAULT_MODEL, EnergySource.NONE
# Every shipped profile with what its kernel shows, and without.
Row = tuple[str, Callable[[FakeBoard], None], str, EnergySource, Scope]
BOARDS: list[Row] = [
    ("raspberry-pi-zero-2-w", nothing, "default-model", MODEL, Scope.BOARD),
    ("raspberry-pi-3", nothing, "default-model", MODEL, Scope.BOARD),
    ("raspberry-pi-4", nothing, "default-model", MODEL, Scope.BOARD),
    ("raspberry-pi-5", pi_5, "rpi-pmic", PARTIAL, Scope.BOARD),
    ("raspberry-pi-5", nothing, "default-model", MODEL, Scope.BOARD),
    ("jetson-nano", nano, "ina3221", TOTAL, Scope.MODULE),
    ("jetson-nano", nothing, "default-model", MODEL, Scope.MODULE),
    ("jetson-xavier-nx", orin, "ina3221", TOTAL, Scope.MODULE),
    ("jetson-xavier-nx", nothing, "none", NONE, Scope.BOARD),
    ("jetson-orin-nano", orin, "ina3221", TOTAL, Scope.MODULE),
    ("jetson-orin-nano", nothing, "default-model", MODEL, Scope.MODULE),
    ("jetson-orin-nx", orin, "ina3221", TOTAL, Scope.MODULE),
    ("jetson-agx-orin", agx, "ina3221", PARTIAL, Scope.RAILS),
    ("jetson-agx-orin", nothing, "none", NONE, Scope.BOARD),
    ("rk3588", nothing, "default-model", MODEL, Scope.BOARD),
    ("rk3566", nothing, "default-model", MODEL, Scope.BOARD),
    ("am625", nothing, "none", NONE, Scope.BOARD),
    ("imx8mq", nothing, "none", NONE, Scope.BOARD),
    ("imx8m-plus", nothing, "none", NONE, Scope.BOARD),
    ("x86-n100", n100, "rapl", EnergySource.RAPL_PACKAGE, Scope.PACKAGE),
    ("x86-n100", nothing, "default-model", MODEL, Scope.BOARD),
    ("generic", laptop, "battery", EnergySource.BATTERY, Scope.BOARD),
    ("generic", n100, "rapl", EnergySource.RAPL_PACKAGE, Scope.PACKAGE),
    ("generic", nothing, "none", NONE, Scope.BOARD),
]


@pytest.mark.parametrize("row", BOARDS, ids=lambda row: f"{row[0]}: {row[2]}")
def test_each_board_opens_its_meter(repo: Path, tmp_path: Path, row: Row) -> None:
    name, kernel, meter, source, scope = row
    board = FakeBoard(tmp_path).cpus([0] * 4).policy(0, range(4), max_khz=1500000)
    kernel(board)
    profile = read_profile(repo / "board-profiles" / f"{name}.toml")
    opened = open_meter(profile.power, tmp_path, board=name)
    assert (opened.name, opened.source, opened.scope) == (meter, source, scope)
    assert isinstance(opened.sample(1.0), NoSample) == (source is NONE)
    tried = [*profile.power.meters, "default-model", "none"]
    assert [passed.name for passed in opened.passed_over] == tried[: tried.index(meter)]
    opened.close()


def test_the_boards_above_are_all_that_are_shipped(repo: Path) -> None:
    shipped = {path.stem for path in (repo / "board-profiles").glob("*.toml")}
    assert shipped == {name for name, *_ in BOARDS}
    assert len(shipped) == 16


def test_what_was_passed_over_says_why_and_what_to_do(repo: Path, tmp_path: Path) -> None:
    FakeBoard(tmp_path).cpus([0])
    facts = read_profile(repo / "board-profiles" / "raspberry-pi-5.toml").power
    opened = open_meter(facts, tmp_path, board="raspberry-pi-5", calibration=tmp_path / "none")
    assert [passed.name for passed in opened.passed_over] == ["rpi-pmic", "calibrated-model"]
    assert "vcio" in opened.passed_over[0].reason
    assert "meter at the plug" in opened.passed_over[1].advice


def test_a_calibration_comes_before_the_default(tmp_path: Path) -> None:
    FakeBoard(tmp_path).cpus([0])
    cost = PolicyCost(policy="policy0", points=[Point(khz=1, add_watts=1.0)])
    found = Calibration(
        board="mine", meter="x", idle_watts=1.0, residual_watts=0.0, policies=[cost]
    )
    path = tmp_path / "calibration.json"
    path.write_bytes(msgspec.json.encode(found))
    facts = PowerFacts(idle_watts=1.0, load_watts=2.0)
    assert open_meter(facts, tmp_path, board="mine", calibration=path).name == "calibrated-model"


def test_a_meter_that_nobody_knows_is_passed_over(tmp_path: Path) -> None:
    opened = open_meter(PowerFacts(meters=["crystal-ball"]), tmp_path)
    assert opened.name == "none"
    assert opened.passed_over[0].reason.startswith("the profile's meter 'crystal-ball'")


def test_every_meter_of_the_table_can_be_imported(tmp_path: Path) -> None:
    opened = open_meter(PowerFacts(meters=list(METERS)), tmp_path)
    assert [passed.name for passed in opened.passed_over] == [*METERS, "default-model"]


def test_a_meter_that_answers_with_errors_only_is_not_chosen(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([0]).orin_nano()
    board.break_file(CURRENT)
    facts = PowerFacts(
        meters=["ina3221"],
        rails={"VDD_IN": ""},
        total_rails=["VDD_IN"],
        idle_watts=2.0,
        load_watts=9.0,
    )
    opened = open_meter(facts, tmp_path)
    assert opened.name == "default-model"
    assert "Input/output error" in opened.passed_over[0].reason


def orin_meter(root: Path) -> OpenMeter:
    facts = PowerFacts(meters=["ina3221"], rails={"VDD_IN": ""}, total_rails=["VDD_IN"])
    opened = open_meter(facts, root, clock=lambda: 0.0)
    assert isinstance(opened, OpenMeter)
    return opened


def test_a_meter_that_fails_says_since_when_and_why_and_recovers(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).orin_nano()
    meter = orin_meter(tmp_path)
    board.write({CURRENT: "N/A"})
    for now in (3.0, 4.0):
        sample = meter.sample(now)
        assert isinstance(sample, NoSample)
        assert (sample.since_seconds, sample.at_seconds) == (3.0, now)
        assert "curr1_input" in sample.reason
    board.write({CURRENT: "1000"})
    again = meter.sample(5.0)
    assert isinstance(again, PowerSample)
    assert again.watts == pytest.approx(5.072)
    board.write({CURRENT: ""})
    later = meter.sample(9.0)
    assert isinstance(later, NoSample)
    assert later.since_seconds == 9.0


def test_a_driver_that_was_loaded_anew_is_found_again(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).orin_nano()
    meter = orin_meter(tmp_path)
    board.write({CURRENT: ""})
    assert isinstance(meter.sample(1.0), NoSample)
    (tmp_path / CHIPS).rename(tmp_path / "gone")
    assert isinstance(meter.sample(11.0), NoSample)
    board.ina3221([("VDD_IN", 5000, 3000)], chip="2-0040", hwmon="hwmon7")
    waiting = meter.sample(12.0)
    assert isinstance(waiting, NoSample)
    assert "no INA3221" in waiting.reason
    found = meter.sample(21.5)
    assert isinstance(found, PowerSample)
    assert found.watts == pytest.approx(15.0)


def test_an_instrument_that_comes_back_with_other_rails_is_refused(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).agx_orin()
    rails = dict.fromkeys(["VDD_GPU_SOC", "VDD_CPU_CV", "VDDQ_VDD2_1V8AO"], "")
    opened = open_meter(PowerFacts(meters=["ina3221"], rails=rails), tmp_path, clock=lambda: 0.0)
    board.write({CURRENT: "N/A"})
    opened.sample(1.0)
    (tmp_path / CHIPS / "1-0041").rename(tmp_path / "gone")
    board.write({CURRENT: "150"})
    assert isinstance(opened.sample(2.0), PowerSample)
    board.write({CURRENT: "N/A"})
    opened.sample(3.0)
    board.write({CURRENT: "150"})
    (tmp_path / CHIP / "in2_enable").write_text("0")
    sample = opened.sample(13.5)
    assert isinstance(sample, NoSample)
    assert "other rails" in sample.reason


def test_a_counter_that_is_opened_anew_goes_on_from_where_it_was(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=1_000_000)
    meter = open_meter(PowerFacts(meters=["rapl"]), tmp_path, clock=lambda: 0.0)
    board.rapl(count=6_000_000)
    assert meter.sample(1.0) == CounterSample(5.0, 1.0, 0.05)
    counter = f"{POWERCAP}/intel-rapl:0/energy_uj"
    board.write({counter: "N/A"})
    assert isinstance(meter.sample(2.0), NoSample)
    board.rapl(count=9_000_000)
    assert meter.sample(13.0) == CounterSample(5.0, 13.0, 0.05)
    board.rapl(count=11_000_000)
    assert meter.sample(14.0) == CounterSample(7.0, 14.0, 0.05)


def test_the_cost_of_a_reading_is_the_median_of_the_first(tmp_path: Path) -> None:
    FakeBoard(tmp_path).orin_nano()
    times = iter([0.0, *(value for start in range(5) for value in (start, start + 0.002))])
    facts = PowerFacts(meters=["ina3221"], rails={"VDD_IN": ""}, total_rails=["VDD_IN"])
    opened = open_meter(facts, tmp_path, clock=lambda: next(times))
    assert opened.read_seconds == pytest.approx(0.002)


def test_opening_and_closing_every_board_leaves_no_descriptor(repo: Path, tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([0] * 4).policy(0, range(4), max_khz=1500000)
    board.agx_orin().battery()
    board.rapl(count=0)
    before = len(list(DESCRIPTORS.iterdir()))
    for path in (repo / "board-profiles").glob("*.toml"):
        open_meter(read_profile(path).power, tmp_path, board=path.stem).close()
    assert len(list(DESCRIPTORS.iterdir())) == before


def test_the_step_follows_the_last_sample(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).orin_nano()
    meter = orin_meter(tmp_path)
    at_start = meter.step_watts
    board.write({CURRENT: "4000"})
    meter.sample(1.0)
    assert at_start == pytest.approx(5.072 * 0.008 + 1.064 * 0.008)
    assert meter.step_watts == pytest.approx(5.072 * 0.008 + 4.0 * 0.008)
