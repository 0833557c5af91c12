"""What doctor sees of a machine, from files laid out like a machine's."""

from pathlib import Path

import pytest

from aiosd.cli import machine_checks
from aiosd.cli.check import Verdict
from aiosd.store.layout import Layout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "pressure").mkdir(parents=True)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / "proc" / name).write_text(text, encoding="ascii")


def test_little_memory_is_a_warning(root: Path) -> None:
    write(root, "meminfo", "MemTotal: 921600 kB\nMemAvailable: 102400 kB\n")
    check = machine_checks.memory_check(root)
    assert (check.verdict, check.found) == (Verdict.WARN, "100 MiB available of 900 MiB")
    write(root, "meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    assert machine_checks.memory_check(root).verdict is Verdict.OK


def test_swap_on_a_card_is_a_warning_and_zram_is_not(root: Path) -> None:
    head = "Filename Type Size Used Priority\n"
    assert machine_checks.swap_check(root).verdict is Verdict.OK
    write(root, "swaps", f"{head}/dev/zram0 partition 1 0 100\n")
    assert machine_checks.swap_check(root).verdict is Verdict.OK
    write(root, "swaps", f"{head}/dev/zram0 partition 1 0 100\n/var/swap file 1 0 -2\n")
    assert machine_checks.swap_check(root).verdict is Verdict.WARN


def test_a_kernel_without_pressure_or_cgroup_is_a_warning_with_a_step(root: Path) -> None:
    for check in (machine_checks.pressure_check(root), machine_checks.cgroup_check(root)):
        assert check.verdict is Verdict.WARN
        assert check.step
    stall = "avg10=1.50 avg60=0.50 avg300=0.00 total=0"
    write(root, "pressure/memory", f"some {stall}\nfull {stall}\n")
    assert machine_checks.pressure_check(root).found.startswith("1.5 % of the last 10 s")


def test_a_state_folder_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    layout = Layout(state=tmp_path / "none")
    assert machine_checks.disk_check(layout).verdict is Verdict.WARN
    assert "free" in machine_checks.disk_check(Layout(state=tmp_path)).found


def test_a_wrong_board_profile_fails(tmp_path: Path) -> None:
    layout = Layout(profiles=(tmp_path,))
    assert machine_checks.profile_check(layout).verdict is Verdict.OK
    (tmp_path / "x.toml").write_text("nonsense = 1\n", encoding="utf-8")
    check = machine_checks.profile_check(layout)
    assert check.verdict is Verdict.FAIL
    assert "x.toml" in check.found


def test_this_machine_can_be_looked_at() -> None:
    checks = list(machine_checks.machine_checks(Layout()))
    assert {check.name for check in checks} >= {"python", "packages", "ram", "state"}
    assert all(check.step for check in checks if check.verdict is not Verdict.OK)


def test_a_store_whose_files_share_no_blocks_is_a_warning_once_releases_came(
    root: Path, tmp_path: Path
) -> None:
    place = tmp_path / "lib" / "aiosd"
    layout = Layout(experts=(place / "experts",))
    (root / "proc" / "self").mkdir()
    mounts = "1 0 8:2 / / rw - ext4 /dev/root rw\n"
    write(root, "self/mountinfo", mounts)
    assert list(machine_checks.sharing_check(layout, root)) == []
    layout.blobs.mkdir(parents=True)
    (check,) = machine_checks.sharing_check(layout, root)
    assert (check.verdict, "ext4" in check.found) == (Verdict.WARN, True)
    write(root, "self/mountinfo", f"2 1 7:0 / {place} rw - xfs /dev/loop0 rw\n{mounts}")
    (check,) = machine_checks.sharing_check(layout, root)
    assert (check.verdict, "xfs" in check.found) == (Verdict.OK, True)
    write(root, "self/mountinfo", "")
    assert list(machine_checks.sharing_check(layout, root)) == []
