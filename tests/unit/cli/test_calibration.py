"""A calibration from its questions to its file, on simulated boards and in simulated time."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.daemon import BODIES, FakeDaemon
from fakes.simulated import Simulated

from aiosd.cli.calibration import introduction, judge, write
from aiosd.cli.clocks import KernelClocks, find_clocks
from aiosd.cli.failure import Exit
from aiosd.cli.main import main
from aiosd.cli.readings import read_readings
from aiosd.cli.walk import IDLE_READINGS, Step, Walk, parse_watts, plan
from aiosd.client import Client
from aiosd.domain.calibration import Calibration
from aiosd.domain.errors import ConfigError, InvalidError
from aiosd.domain.power import CpuPolicy, EnergySource
from aiosd.policy.energy.calibration import UnusableReadingsError
from aiosd.protocol import messages
from aiosd.sensors.meter import open_meter
from aiosd.sensors.model import read_calibration
from tools.boardsim.live import Start
from tools.boardsim.model import Limits
from tools.boardsim.owner import SimulatedOwner, calibrated

# What the simulator's copy of a board takes beside the published watts.
FIFTH_MORE = Start(unit=1.2)
MINUTE = [(15.0, 0.0), (15.0, 2.0), (15.0, 99.0), (15.0, 0.5)]
WITHOUT_METER = (
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "rk3566",
    "rk3588",
    "am625",
    "imx8mq",
    "imx8m-plus",
)
CSV = "watts,policy,cores,khz\n2.0,,,\n2.1,,0,0\n3.4,policy0,1,1800000\n7.5,policy0,4,1800000\n"


@pytest.fixture(autouse=True)
def _boards_are_closed() -> Iterator[None]:
    yield
    Simulated.close_all()


def calibrate(board: Simulated, path: Path, *, count: int) -> Calibration:
    made = calibrated(board.live, count)
    write(path, made)
    return made


def off(board: Simulated, calibration: Path | None) -> float:
    """How far a minute's joules by the chosen meter are from the truth, as a share."""
    profile = board.pick().profile
    board.meter = open_meter(
        profile.power,
        board.root,
        board=profile.name,
        calibration=calibration,
        clock=lambda: board.live.now,
    )
    wanted = EnergySource.CALIBRATED_MODEL if calibration else EnergySource.DEFAULT_MODEL
    assert board.meter.source is wanted
    true, read, stated = board.measure(MINUTE)
    assert abs(read - true) <= stated
    return abs(read - true) / true


@pytest.mark.parametrize("clocks", [3, 0], ids=["fixed clocks", "the governor's clock"])
@pytest.mark.parametrize("name", WITHOUT_METER)
def test_a_calibrated_board_counts_the_true_joules_within_five_percent(
    name: str, clocks: int, tmp_path: Path
) -> None:
    board = Simulated(name, tmp_path / "board", FIFTH_MORE)
    path = tmp_path / "calibration.json"
    made = calibrate(board, path, count=clocks)
    assert read_calibration(path, name) == made
    error = off(board, path)
    assert error < 0.05
    power = board.pick().profile.power
    if power.idle_watts is not None:
        assert off(board, None) > 2 * error


def test_a_calibration_finds_the_watts_of_this_copy_and_not_the_published_ones(
    tmp_path: Path,
) -> None:
    board = Simulated("raspberry-pi-4", tmp_path / "board", FIFTH_MORE)
    made = calibrate(board, tmp_path / "calibration.json", count=3)
    assert made.idle_watts == pytest.approx(1.2 * 1.6, rel=0.05)
    [cost] = made.policies
    assert cost.curve()[-1][1] == pytest.approx(1.2 * (5.0 - 1.6) / 4, rel=0.05)
    assert len(cost.points) == 3
    # As the simulator is made: its volts fall with its clock.
    assert made.slower_clock_saves


def walk(board: Simulated, slips: dict[int, str]) -> tuple[SimulatedOwner, Walk]:
    desk = SimulatedOwner(board.live, slips)
    return desk, Walk(desk, 4.0)


def test_a_reading_below_the_idle_is_named_and_taken_again(tmp_path: Path) -> None:
    desk, made = walk(Simulated("rpi4", tmp_path), {IDLE_READINGS + 2: "0.5"})
    made.go(plan(desk.read().policies, {}))
    [told] = [line for line in desk.said if "cannot be right" in line]
    assert "'2 of 4 cores of policy0'" in told
    assert "0.50 W under load is less than the 1.6" in told
    assert min(each.watts for each in made.observations) > 1.5


def test_a_mistyped_reading_is_found_by_the_others_and_taken_again(tmp_path: Path) -> None:
    desk, made = walk(Simulated("rpi4", tmp_path), {IDLE_READINGS + 3: "8.15"})
    found = made.go(plan(desk.read().policies, {}))
    assert [line for line in desk.said if "'3 of 4 cores of policy0'" in line]
    assert found.residual_watts < 0.05


def test_an_owner_who_does_not_repeat_is_refused_and_nothing_is_fitted(tmp_path: Path) -> None:
    desk, made = walk(Simulated("rpi4", tmp_path), {IDLE_READINGS + 1: "0.2"})
    desk.answers.append("n")
    with pytest.raises(InvalidError, match=r"1 of 4 cores.*less than") as caught:
        made.go(plan(desk.read().policies, {}))
    assert caught.value.field == f"readings[{IDLE_READINGS}]"


def test_a_reading_that_stays_wrong_is_refused_in_the_end(tmp_path: Path) -> None:
    always = dict.fromkeys(range(IDLE_READINGS + 1, 20), "0.2")
    desk, made = walk(Simulated("rpi4", tmp_path), always)
    with pytest.raises(InvalidError, match="read it again"):
        made.go(plan(desk.read().policies, {}))


def test_what_is_no_number_is_asked_for_again(tmp_path: Path) -> None:
    desk, made = walk(Simulated("rpi4", tmp_path), {1: "about two"})
    made.go(plan(desk.read().policies, {}))
    assert any("'about two' is no reading" in line for line in desk.said)


def test_a_load_that_hardly_runs_is_told_of(tmp_path: Path) -> None:
    board = Simulated("rpi4", tmp_path)
    desk, made = walk(board, {})
    steps = [Step("4 cores that a power mode keeps to 1.2", (0, 1, 2, 3))]
    board.live.tree.limits = lambda: Limits(cores=1.2)  # type: ignore[method-assign]
    made.go(steps)
    assert any("only 1.2 of 4 cores were kept busy" in line for line in desk.said)


def test_a_board_that_is_not_idle_is_told_of(tmp_path: Path) -> None:
    board = Simulated("rpi4", tmp_path)
    desk, made = walk(board, {})
    board.live.tree.set("busy", "1")
    # The desk's idle step stops what the simulator runs; this load is the experimenter's.
    desk.load = lambda _step: contextlib.nullcontext()  # type: ignore[method-assign]
    with pytest.raises(UnusableReadingsError, match="no reading of the idle"):
        made.go([])
    assert any("cores were busy with something else" in line for line in desk.said)


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("2.41", 2.41),
        ("2,41 W", 2.41),
        ("2410 mW\n", 2.41),
        (" 3w ", 3.0),
        ("5.12 * 0.47", 5.12 * 0.47),
        ("5,1V x 0,5A", 2.55),
    ],
)
def test_a_reading_may_be_written_as_meters_show_it(text: str, watts: float) -> None:
    assert parse_watts(text) == pytest.approx(watts)


@pytest.mark.parametrize("text", ["", "two", "-2", "2.41 A", "1e9", "nan", "2..4"])
def test_anything_else_is_no_reading(text: str) -> None:
    with pytest.raises(ValueError, match="is no reading"):
        parse_watts(text)


def test_every_group_is_loaded_alone_at_each_clock_and_then_all_together() -> None:
    little = CpuPolicy("policy0", (0, 1, 2, 3))
    big = CpuPolicy("policy4", tuple(range(4, 12)))
    steps = plan([little, big], {"policy0": [900_000, 1_800_000]})
    assert [(step.policy, len(step.cpus), step.khz) for step in steps] == [
        ("policy0", 4, 900_000),
        ("policy0", 1, 1_800_000),
        ("policy0", 2, 1_800_000),
        ("policy0", 3, 1_800_000),
        ("policy0", 4, 1_800_000),
        ("policy4", 1, 0),
        ("policy4", 4, 0),
        ("policy4", 8, 0),
        ("", 12, 0),
    ]


def test_the_owner_is_told_what_will_happen_and_how_long_it_takes() -> None:
    told = " ".join(introduction("rk3566", [Step("x")] * 6, 10.0, fixed=False))
    assert "9 readings, about 3 minutes" in told
    assert "USB meter" in told
    assert "sudo" in told


def test_a_held_clock_is_given_back_whatever_happens(tmp_path: Path) -> None:
    board = Simulated("rpi4", tmp_path)
    limit = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    found = int(limit.read_text())
    held = KernelClocks(tmp_path).hold("policy0", 900_000)
    held.__enter__()
    board.go(1.0, 4.0)
    assert board.live.state.khz == (900_000,)
    assert not held.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert int(limit.read_text()) == found


LEVERS = {"policies": [], "mode": "", "modes": []}


def test_without_the_kernels_files_the_daemons_helper_holds_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BODIES, messages.Power, LEVERS)
    with FakeDaemon(tmp_path) as daemon, Client(tmp_path) as client:
        clocks = find_clocks(tmp_path / "no board", client)
        assert clocks is not None
        held = clocks.hold("policy4", 900_000)
        held.__enter__()
        assert not held.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        asked = [(each.verb.policy, each.verb.khz) for each in daemon.received[1:]]  # type: ignore[union-attr]
        assert asked == [("policy4", 900_000), ("policy4", 0)]


def test_without_helper_and_files_there_is_the_governors_clock_alone(tmp_path: Path) -> None:
    assert find_clocks(tmp_path, None) is None
    assert plan([CpuPolicy("policy0", (0,))], {})[0].khz == 0


# ── readings from a file ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "calibration.json"


def run(tmp_path: Path, place: Path, *words: str) -> int:
    folder = ("--socket-dir", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(exist_ok=True)
    with FakeDaemon(tmp_path / "run"):
        return main([*folder, "calibrate", "--board", "rk3566", "--out", str(place), *words])


def test_readings_in_a_csv_file_become_the_state_file(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.csv").write_text(CSV)
    assert run(tmp_path, place, "--readings", str(tmp_path / "r.csv"), "--meter", "FNB58") == 0
    made = read_calibration(place, "rk3566")
    assert (made.meter, made.idle_watts) == ("FNB58", pytest.approx(2.04, abs=0.05))
    out = capsys.readouterr().out
    assert "residual" in out
    assert max(map(len, out.splitlines()[:5])) <= 80


def test_the_same_as_toml_and_json(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(
        f'[[readings]]\nwatts = {watts}\npolicy = "policy0"\ncores = {cores}\nkhz = 1800000\n'
        for watts, cores in ((3.4, 1), (7.5, 4))
    )
    text = f'meter = "bench supply"\n[[readings]]\nwatts = 2.0\n{rows}'
    (tmp_path / "r.toml").write_text(text)
    assert run(tmp_path, place, "--json", "--readings", str(tmp_path / "r.toml")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calibration"]["meter"] == "bench supply"
    assert told["readings"][0]["what"] == "reading 1: idle"
    assert read_calibration(place, "rk3566").meter == "bench supply"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (CSV + "1.0,policy0,2,1800000\n", Exit.INVALID, "reading 5: 2 cores of policy0"),
        (CSV + "99,policy0,2,1800000\n", Exit.INVALID, "above what the rest say"),
        ("watts\n2.0\n", Exit.INVALID, "no reading under load"),
        ("watt\n2.0\n", Exit.PACKAGE, "r.csv:1: the columns are watts, policy, cores, khz"),
        ("watts,cores\n2.0,many\n", Exit.PACKAGE, "r.csv:2:"),
        ("watts,cores\n,1\n", Exit.PACKAGE, "r.csv:2:"),
    ],
)
def test_bad_readings_are_refused_by_line_or_number_and_the_old_file_stays(
    tmp_path: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    code: Exit,
    said: str,
) -> None:
    place.write_text("old")
    (tmp_path / "r.csv").write_text(text)
    assert run(tmp_path, place, "--readings", str(tmp_path / "r.csv")) == code
    assert said in capsys.readouterr().err
    assert place.read_text() == "old"
    assert [path.name for path in place.parent.iterdir()] == ["calibration.json"]


def test_without_a_terminal_it_says_what_to_do(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, place) == Exit.USAGE
    assert "--readings FILE" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.csv").write_text(CSV)
    words = ("--readings", str(tmp_path / "r.csv"))
    assert run(tmp_path, tmp_path / "nowhere" / "c.json", *words) == Exit.PACKAGE
    assert "name a file with --out" in capsys.readouterr().err


def test_a_file_that_is_not_text_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_readings(tmp_path / "r.csv")


def test_good_readings_are_judged_good(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(CSV)
    _, readings = read_readings(tmp_path / "r.csv")
    assert judge(readings).residual_watts < 0.1
