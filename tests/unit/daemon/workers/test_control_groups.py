"""Groups of workers, in trees of plain files; the kernel's own are in tests/process."""

import os
from pathlib import Path

import pytest
from fakes.control_groups import SERVICE, FakeTree

from aiosd.daemon.workers.control_groups import ControlGroups, Ending
from aiosd.daemon.workers.crew import explain
from aiosd.domain.request import Priority

MIB = 2**20


def text(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


def test_a_worker_gets_a_group_with_its_limit_before_it_enters_it(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", 48 * MIB)
    (worker,) = tree.workers()
    assert text(worker, "memory.max") == str(48 * MIB)
    assert text(worker, "memory.swap.max") == "0"
    assert text(worker, "memory.oom.group") == "1"
    assert groups.limit_of("echo") == 48 * MIB
    assert groups.entrances("echo") == [str(worker / "cgroup.procs")]
    (worker / "cgroup.procs").write_text("4242\n")
    groups.check("echo", 4242)
    assert groups.problems == []


def test_the_daemon_moves_into_a_leaf_before_it_hands_controllers_down(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    ControlGroups(tmp_path)
    assert text(tree.memory / "daemon", "cgroup.procs") == str(os.getpid())
    assert text(tree.memory, "cgroup.subtree_control") == "+memory +cpu"
    assert text(tree.memory / tree.ours, "cgroup.subtree_control") == "+memory +cpu"


def test_a_daemon_that_systemd_put_into_the_leaf_divides_the_group_above(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.put("proc/self/cgroup", f"0::/{SERVICE}/daemon\n")
    (tree.memory / "daemon").mkdir()
    ControlGroups(tmp_path).open("echo", MIB)
    assert len(tree.workers()) == 1


def test_version_1_has_a_folder_for_each_controller_and_limits_swap_as_well(
    tmp_path: Path,
) -> None:
    tree = FakeTree(tmp_path, version=1)
    groups = ControlGroups(tmp_path)
    groups.open("echo", 48 * MIB)
    (worker,) = tree.workers()
    assert text(worker, "memory.limit_in_bytes") == str(48 * MIB)
    assert text(worker, "memory.memsw.limit_in_bytes") == str(48 * MIB)
    assert text(worker, "memory.swappiness") == "0"
    groups.weigh("echo", Priority.BACKGROUND)
    cpu = tree.cpu / tree.ours / worker.name
    assert groups.entrances("echo") == [str(each / "cgroup.procs") for each in (worker, cpu)]
    assert text(cpu, "cpu.shares") == "256"
    assert groups.quota(0.5)
    assert text(tree.cpu / tree.ours, "cpu.cfs_quota_us") == "50000"
    assert groups.quota(None)
    assert text(tree.cpu / tree.ours, "cpu.cfs_quota_us") == "-1"


def test_a_quota_is_for_all_workers_and_can_be_lifted(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    assert groups.has_quota
    for cores, written in ((1.5, "150000 100000"), (0.001, "1000 100000"), (None, "max 100000")):
        assert groups.quota(cores)
        assert text(tree.cpu / tree.ours, "cpu.max") == written


def test_a_weight_is_written_only_when_it_changes(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", MIB)
    (worker,) = tree.workers()
    groups.weigh("echo", Priority.NORMAL)
    assert not (worker / "cpu.weight").exists()
    groups.weigh("echo", Priority.INTERACTIVE)
    assert text(worker, "cpu.weight") == "400"


def test_a_limit_is_never_set_below_what_cannot_be_given_back(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", 200 * MIB)
    (worker,) = tree.workers()
    (worker / "memory.current").write_text(f"{150 * MIB}\n")
    (worker / "memory.stat").write_text(f"anon {100 * MIB}\nfile {60 * MIB}\nshmem {10 * MIB}\n")
    groups.limit_memory("echo", 50 * MIB)
    assert groups.limit_of("echo") == 125 * MIB  # 100 that no file backs, and headroom
    groups.limit_memory("echo", 300 * MIB)
    assert text(worker, "memory.max") == str(300 * MIB)


def test_a_worker_that_is_gone_leaves_no_group(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", MIB)
    assert groups.close("echo") == Ending()
    assert tree.workers() == []
    assert groups.close("echo") == Ending()


def test_at_the_end_everything_is_as_it_was(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", MIB)
    groups.shut()
    assert [path for path in tree.memory.iterdir() if path.is_dir()] == []
    assert text(tree.memory, "cgroup.procs") == str(os.getpid())


def test_what_a_killed_daemon_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    tree = FakeTree(tmp_path)
    dead, alive = tree.memory / "aiosd.999999999", tree.memory / "aiosd.1"
    other = tree.memory / "aiosd.conf"
    for folder in (dead, alive, other):
        (folder / "echo.1").mkdir(parents=True)
        (folder / "echo.1" / "memory.max").write_text("max\n")
    ControlGroups(tmp_path)
    assert not dead.exists()
    assert (alive / "echo.1").exists()
    assert (other / "echo.1").exists()


def test_version_2_tells_whether_its_own_limit_ended_a_worker(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    for name, events in (("one", "oom 1\noom_kill 1\n"), ("two", "oom 0\noom_kill 1\n")):
        groups.open(name, 48 * MIB)
        (tree.workers()[-1] / "memory.events").write_text(events)
        ending = groups.close(name)
        assert ending.limit_bytes == 48 * MIB
        assert ending.over_limit == (name == "one")
        assert ending.out_of_memory == (name == "two")
    groups.open("three", 48 * MIB)
    (tree.workers()[-1] / "memory.events").write_text("oom 0\noom_kill 0\n")
    assert groups.close("three") == Ending()


@pytest.mark.parametrize(("peak", "own"), [(48 * MIB, True), (20 * MIB, False)])
def test_version_1_tells_by_the_highest_use(tmp_path: Path, peak: int, *, own: bool) -> None:
    tree = FakeTree(tmp_path, version=1)
    groups = ControlGroups(tmp_path)
    groups.open("echo", 48 * MIB)
    (worker,) = tree.workers()
    (worker / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (worker / "memory.max_usage_in_bytes").write_text(f"{peak}\n")
    assert groups.close("echo").over_limit == own


def test_the_reason_of_an_end_names_the_limit() -> None:
    over = Ending(over_limit=True, limit_bytes=48 * MIB)
    assert explain(over) == "went over its own limit of 48 MiB and was ended by the kernel"
    assert "not by this expert's own limit" in explain(Ending(out_of_memory=True))
    assert explain(Ending()) == ""


# ── what cannot be had ────────────────────────────────────────────────────────────────────────


def test_switched_off_nothing_is_touched(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path, wanted=False)
    groups.open("echo", MIB)
    assert groups.entrances("echo") == []
    groups.check("echo", 1)
    groups.limit_memory("echo", MIB)
    groups.weigh("echo", Priority.BACKGROUND)
    assert (groups.active, groups.has_quota, groups.quota(1.0)) == (False, False, False)
    assert groups.limit_of("echo") is None
    assert groups.close("echo") == Ending()
    groups.shut()
    assert tree.workers() == []
    assert "switched off in the settings" in groups.mechanism


def test_without_a_memory_controller_the_books_hold_the_cap_and_the_quota_still_works(
    tmp_path: Path,
) -> None:
    # Raspberry Pi OS as it comes.
    tree = FakeTree(tmp_path, controllers="cpu io pids")
    groups = ControlGroups(tmp_path)
    assert groups.mechanism == (
        "the daemon's own books and polling (the memory controller is off on this machine)"
    )
    groups.open("echo", MIB)
    assert groups.limit_of("echo") is None
    assert groups.quota(1.0)
    assert text(tree.cpu / tree.ours, "cpu.max") == "100000 100000"


def test_a_controller_that_is_not_handed_down_is_named(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.put(f"sys/fs/cgroup/{SERVICE}/cgroup.controllers", "cpu\n")
    groups = ControlGroups(tmp_path)
    assert "the memory controller is not handed down" in groups.mechanism
    assert groups.has_quota


def test_a_tree_that_may_not_be_written_stops_nobody(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    (tree.memory / "daemon").write_text("in the way")
    groups = ControlGroups(tmp_path)
    assert not groups.active
    assert "cannot be divided" in groups.mechanism
    assert len(groups.problems) == 2


def test_a_limit_that_is_refused_is_said_and_the_worker_goes_on(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", MIB)
    (worker,) = tree.workers()
    (worker / "memory.max").unlink()
    (worker / "memory.max").mkdir()
    groups.limit_memory("echo", 32 * MIB)
    assert groups.mechanism.startswith("the daemon's own books")
    assert any("memory limit" in each for each in groups.problems)
    (worker / "memory.max").rmdir()
    groups.limit_memory("echo", 32 * MIB)
    assert groups.mechanism.startswith("memory.max per worker")


def test_a_worker_that_did_not_enter_its_group_is_told_of(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    groups = ControlGroups(tmp_path)
    groups.open("echo", MIB)
    groups.check("echo", 4242)
    assert "a worker could not enter its group" in groups.mechanism
    (tree.workers()[0] / "cgroup.procs").write_text("4242\n")
    groups.check("echo", 4242)
    assert groups.problems == []


def test_a_simulated_board_is_called_simulated(tmp_path: Path) -> None:
    FakeTree(tmp_path)
    mechanism = ControlGroups(tmp_path).mechanism
    assert mechanism.startswith("memory.max per worker (cgroup v2, delegated, SIMULATED")


def test_root_does_not_divide_what_systemd_has_not_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = FakeTree(tmp_path)
    (tmp_path / "SIMULATED").unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    groups = ControlGroups(tmp_path)
    assert "not delegated to this service (systemd: Delegate=memory cpu)" in groups.mechanism
    assert not (tree.memory / "daemon").exists()
