"""The simulated board's folder: files rewritten in place, groups, the load of processes."""

import json
import os
import time
from pathlib import Path

import pytest
from fakes.simulated import Simulated

from aiosd.domain.power import Scope
from aiosd.sensors.kernel_file import KernelFile, SensorError
from aiosd.sensors.memory import read_memory
from tools.boardsim.cell import Cell
from tools.boardsim.cgroups import Cgroups, quota
from tools.boardsim.faults import Refusal
from tools.boardsim.live import TRUTH
from tools.boardsim.load import ProcessTree

SERVICE = "sys/fs/cgroup/system.slice/aiosd.service"


def test_an_open_descriptor_sees_the_news_and_the_file_never_shrinks(tmp_path: Path) -> None:
    cell = Cell(tmp_path / "in1_input")
    cell.show("123456")
    reader = KernelFile(tmp_path / "in1_input")
    assert reader.number() == 123456
    size = (tmp_path / "in1_input").stat().st_size
    cell.show("7")
    assert reader.number() == 7
    assert (tmp_path / "in1_input").stat().st_size == size
    cell.show("12345678")
    assert reader.number() == 12345678


def test_a_refused_file_is_empty_to_its_readers_and_an_io_error_when_opened(
    tmp_path: Path,
) -> None:
    path = tmp_path / "energy_uj"
    cell = Cell(path)
    cell.show("5")
    reader = KernelFile(path)
    cell.show(Refusal.IO_ERROR)
    with pytest.raises(SensorError, match="empty"):
        reader.number()
    with pytest.raises(SensorError, match="Input/output error"):
        KernelFile(path).number()
    cell.show("6")
    assert KernelFile(path).number() == 6
    cell.show(Refusal.GONE)
    with pytest.raises(SensorError, match="No such file"):
        KernelFile(path)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty, and no simulated board"):
        Simulated("rpi4", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_the_simulator_may_be_used_again(tmp_path: Path) -> None:
    Simulated("rpi4", tmp_path).live.tree.close()
    Simulated("rpi5", tmp_path)
    text = (tmp_path / "proc/device-tree/model").read_text()
    assert text.startswith("Raspberry Pi 5")


def test_scaling_max_freq_is_obeyed_and_nonsense_is_not(tmp_path: Path) -> None:
    board = Simulated("rpi4", tmp_path)
    board.go(1.0, 4.0)
    hot = board.live.state.watts[Scope.BOARD]
    limit = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    limit.write_text("900000\n")
    board.go(1.0, 4.0)
    assert board.live.state.khz == (900_000,)
    assert board.live.state.watts[Scope.BOARD] < 0.7 * hot
    current = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
    assert int(current.read_text()) == 900_000
    limit.write_text("fast\n")
    board.go(1.0, 4.0)
    assert board.live.state.khz == (1_800_000,)


def test_the_powercap_limit_is_obeyed(tmp_path: Path) -> None:
    board = Simulated("n100", tmp_path)
    (tmp_path / "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw").write_text("5000000")
    board.go(2.0, 4.0)
    assert board.live.state.watts[Scope.PACKAGE] <= 5.0


def test_a_new_group_is_furnished_and_its_quota_counts_for_its_pids(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path, memory=True)
    worker = tmp_path / SERVICE / "worker-1"
    worker.mkdir()
    groups.visit()
    assert (worker / "cpu.max").read_text() == "max 100000\n"
    assert (worker / "memory.max").exists()
    (worker / "cgroup.procs").write_text("77\n")
    (worker / "cpu.max").write_text("50000 100000\n")
    groups.visit()
    assert groups.allowed({77: 2.0, 78: 1.0}, 0.5) == pytest.approx(1.5)
    usage = (worker / "cpu.stat").read_text().split()
    assert int(usage[1]) == 250_000


def test_the_quota_of_a_group_holds_for_all_below_it(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path, memory=False)
    for name, pid in (("one", 1001), ("two", 1002)):
        (tmp_path / SERVICE / name).mkdir()
        (tmp_path / SERVICE / name / "cgroup.procs").write_text(f"{pid}\n")
    (tmp_path / SERVICE / "cpu.max").write_text("100000 100000\n")
    groups.visit()
    assert groups.allowed({1001: 1.0, 1002: 1.0}, 1.0) == pytest.approx(1.0)
    assert not (tmp_path / SERVICE / "one" / "memory.max").exists()


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", float("inf")),
        ("25000 100000\n", 0.25),
        ("200000\n", 2.0),
        ("", float("inf")),
        ("9 0", float("inf")),
    ],
)
def test_a_quota_is_a_number_of_cores(text: str, cores: float, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert quota(tmp_path / "cpu.max") == cores


def test_the_real_cpu_time_of_this_process_drives_the_board() -> None:
    tree = ProcessTree([os.getpid()])
    start = time.process_time()
    spent = 0
    while time.process_time() - start < 0.1:
        spent += 1
    busy = tree.busy_cores(0.2)[os.getpid()]
    assert 0.3 < busy < 1.0
    assert sum(tree.resident().values()) > 2**20


def test_a_process_that_is_gone_is_no_load() -> None:
    tree = ProcessTree([2**22 + 1])
    assert tree.busy_cores(0.1) == {}


def test_the_truth_is_written_for_every_step(tmp_path: Path) -> None:
    board = Simulated("orin-nano", tmp_path)
    board.go(5.0, 3.0)
    lines = [json.loads(line) for line in (tmp_path / TRUTH).read_text().splitlines()]
    assert len(lines) == 10
    last = lines[-1]
    assert last["t"] == pytest.approx(board.live.now, abs=1e-3)
    assert last["joules"]["module"] == pytest.approx(
        board.live.state.joules[Scope.MODULE], abs=1e-3
    )
    assert last["joules"]["board"] > last["joules"]["module"]


def test_a_group_counts_what_its_pids_hold_and_who_is_over_its_limit(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path, memory=True)
    worker = tmp_path / SERVICE / "worker-1"
    worker.mkdir()
    groups.visit()
    (worker / "cgroup.procs").write_text("77\n")
    (worker / "memory.max").write_text("1000000\n")
    groups.visit()
    groups.hold({77: 900_000, 78: 5_000_000})
    assert int((worker / "memory.current").read_text()) == 900_000
    assert "oom 0\noom_kill 0" in (worker / "memory.events").read_text()
    groups.hold({77: 1_100_000})
    assert "oom 1\noom_kill 0" in (worker / "memory.events").read_text()


def test_a_group_that_is_removed_meanwhile_stops_nobody(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path, memory=True)
    worker = tmp_path / SERVICE / "worker-1"
    worker.mkdir()
    groups.visit()
    (worker / "cgroup.procs").write_text("77\n")
    groups.visit()
    for file in worker.iterdir():
        file.unlink()
    worker.rmdir()
    groups.hold({77: 900_000})
    assert groups.allowed({77: 1.0}, 0.5) == 1.0
    groups.visit()
    assert not worker.exists()


def test_what_other_programs_take_is_not_available(tmp_path: Path) -> None:
    board = Simulated("rpi5", tmp_path)
    before = read_memory(tmp_path).available_bytes
    board.live.tree.set("taken", "1000")
    board.go(0.5)
    assert before - read_memory(tmp_path).available_bytes == pytest.approx(1000 * 2**20, rel=0.01)


def test_a_group_that_is_removed_while_the_groups_are_looked_through_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Cgroups(tmp_path, memory=True)
    leaving, staying = (tmp_path / "sys/fs/cgroup" / name for name in ("leaving", "staying"))
    leaving.mkdir()
    staying.mkdir()
    scan = os.scandir

    def removed_before(folder: str | Path) -> object:
        if Path(folder) == leaving and leaving.is_dir():
            leaving.rmdir()
        return scan(folder)

    monkeypatch.setattr(os, "scandir", removed_before)
    groups.visit()
    assert not leaving.exists()
    assert (staying / "cgroup.procs").exists()
