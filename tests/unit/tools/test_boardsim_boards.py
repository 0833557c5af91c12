"""Every board profile against the simulated board of its name."""

from pathlib import Path

import pytest
from fakes.simulated import Simulated

from aiosd.boards.machine import read_machine
from aiosd.domain.power import NoSample, Scope
from aiosd.sensors.heat import Thermometer
from aiosd.sensors.memory import read_limits, read_memory
from aiosd.sensors.mode import read_mode
from aiosd.sensors.throttle import ThrottleGauge
from tools.boardsim.live import Start
from tools.boardsim.shapes import ALIASES, PROFILES, SHAPES, find_board

METERS = {
    "raspberry-pi-5": "rpi-pmic",
    "jetson-nano": "ina3221",
    "jetson-xavier-nx": "ina3221",
    "jetson-orin-nano": "ina3221",
    "jetson-orin-nx": "ina3221",
    "jetson-agx-orin": "ina3221",
    "x86-n100": "rapl",
    "generic": "rapl",
    "am625": "none",
    "imx8mq": "none",
    "imx8m-plus": "none",
}
MINUTE = [(15.0, 0.0), (15.0, 2.0), (15.0, 99.0), (15.0, 0.5)]
EVERY = pytest.mark.parametrize("name", sorted(SHAPES))


def test_every_profile_has_a_simulated_board_and_the_reverse() -> None:
    assert set(SHAPES) == {path.stem for path in PROFILES.glob("*.toml")}
    assert set(ALIASES.values()) <= set(SHAPES)


def test_an_unknown_board_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no board 'rpi6'; there are am625, generic"):
        find_board("rpi6")


@EVERY
def test_the_profile_is_picked_by_what_the_folder_says(name: str, tmp_path: Path) -> None:
    board = Simulated(name, tmp_path)
    picked = board.pick()
    assert picked.profile.name == name
    assert picked.reason.startswith(
        "device tree says" if SHAPES[name].compatible else ("processor is", "no profile names")
    )


@EVERY
def test_the_machine_has_the_cores_features_and_memory_of_the_profile(
    name: str, tmp_path: Path
) -> None:
    board = Simulated(name, tmp_path)
    machine = read_machine(tmp_path / "proc", allowed_cores=64)
    facts = board.pick().profile.facts
    assert machine.lacks(facts.isa) == []
    assert machine.cores == SHAPES[name].cores
    assert facts.cores in {None, machine.cores}
    gib = machine.ram_bytes / 2**30
    assert any(0.85 * size < gib < size for size in facts.ram_gib or [SHAPES[name].ram_gib])


@EVERY
def test_it_says_that_it_is_simulated(name: str, tmp_path: Path) -> None:
    Simulated(name, tmp_path)
    assert (tmp_path / "SIMULATED").read_text().startswith("SIMULATED")
    machine = read_machine(tmp_path / "proc")
    assert "simulated" in machine.kernel
    assert machine.board_model.endswith("(simulated)") or not SHAPES[name].compatible


@EVERY
def test_the_meter_reads_a_minute_within_the_error_that_it_states(
    name: str, tmp_path: Path
) -> None:
    board = Simulated(name, tmp_path)
    meter = board.open_meter()
    assert meter.name == METERS.get(name, "default-model")
    if meter.name == "none":
        sample = board.sample()
        assert isinstance(sample, NoSample)
        assert sample.reason == "no instrument and no model of this board"
        return
    true, read, stated = board.measure(MINUTE)
    assert abs(read - true) <= stated
    assert stated < 0.35 * true


@EVERY
def test_the_zones_of_the_profile_read_the_heat_and_dead_ones_are_dropped(
    name: str, tmp_path: Path
) -> None:
    board = Simulated(name, tmp_path)
    board.go(60.0, 99.0, dt=1.0)
    types = [zone.type for zone in board.pick().profile.heat.zones]
    readings = Thermometer(tmp_path, types).read()
    assert readings[0].celsius == pytest.approx(board.live.state.celsius, abs=0.5)
    everything = Thermometer(tmp_path).read()
    assert {reading.zone for reading in everything} == set(board.live.tree.board.zones)


@EVERY
def test_a_raspberry_pi_has_no_pressure_and_no_memory_controller_as_stock(
    name: str, tmp_path: Path
) -> None:
    Simulated(name, tmp_path)
    group = tmp_path / "sys/fs/cgroup/system.slice/aiosd.service"
    pi = name.startswith("raspberry-pi")
    assert (read_memory(tmp_path).pressure is None) is pi
    assert (group / "memory.max").exists() is not pi
    assert (group / "cpu.max").exists()
    if not pi:
        (group / "memory.max").write_text("536870912\n")
        assert [limit.limit_bytes for limit in read_limits(tmp_path).limits] == [536870912]
    gauge = ThrottleGauge(tmp_path)
    assert gauge.source == ("firmware" if pi else "")


def test_the_pmic_misses_what_hangs_on_five_volts(tmp_path: Path) -> None:
    board = Simulated("rpi5", tmp_path)
    board.open_meter()
    board.live.tree.set("peripherals", "3")
    true, read, _ = board.measure([(30.0, 1.0)])
    assert true - read == pytest.approx(90.0, rel=0.1)


def test_an_ina3221_moves_in_steps_of_forty_milliwatts(tmp_path: Path) -> None:
    board = Simulated("orin-nano", tmp_path)
    assert board.open_meter().step_watts == pytest.approx(0.04, rel=0.1)
    folder = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    seen = set()
    for busy in (0.0, 1.0, 3.0, 6.0):
        board.go(1.0, busy)
        volts, amperes = (int((folder / f"{name}1_input").read_text()) for name in ("in", "curr"))
        assert volts % 8 == amperes % 8 == 0
        seen.add(amperes)
    assert len(seen) == 4


def test_a_module_takes_less_than_its_board(tmp_path: Path) -> None:
    board = Simulated("jetson-nano", tmp_path)
    watts = board.live.state.watts
    assert watts[Scope.MODULE] == pytest.approx(0.93)
    assert watts[Scope.BOARD] > 1.1 * watts[Scope.MODULE]


def test_a_copy_that_takes_a_fifth_more_is_within_the_error_of_the_default_model(
    tmp_path: Path,
) -> None:
    board = Simulated("rpi4", tmp_path, Start(unit=1.2))
    board.open_meter()
    true, read, stated = board.measure(MINUTE)
    assert read < 0.9 * true
    assert abs(read - true) <= stated


def test_a_jetson_is_in_a_mode_by_name_and_obeys_it(tmp_path: Path) -> None:
    board = Simulated("orin-nano", tmp_path)
    mode = read_mode(tmp_path)
    assert mode is not None
    assert mode.name == "MAXN_SUPER"
    board.go(5.0, 6.0)
    assert board.live.state.watts[Scope.MODULE] > 20
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0000 fmode:quiet\n")
    board.go(5.0, 6.0)
    assert board.live.state.watts[Scope.MODULE] <= 7.0
