"""The kernel's word on stalls, where it gives one."""

import select
from pathlib import Path

import pytest

from aiosd.sensors.stall import StallTrigger


def test_a_trigger_of_the_real_kernel_is_quiet_until_it_fires() -> None:
    try:
        trigger = StallTrigger()
    except OSError as error:
        pytest.skip(f"no trigger can be had here: {error}")
    waiting = select.poll()
    waiting.register(trigger, select.POLLIN)
    # A machine that stalls right now may say so once; no trigger is ready without end.
    assert not all(waiting.poll(0) for _ in range(10))
    assert not trigger.lost()
    trigger.close()


def test_where_pressure_is_off_there_is_no_trigger(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StallTrigger(tmp_path)


def test_a_simulated_file_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "SIMULATED").write_text("a test's")
    file = tmp_path / "proc/pressure/memory"
    file.parent.mkdir(parents=True)
    file.write_text("some avg10=0.00\n")
    with pytest.raises(OSError, match="simulated"):
        StallTrigger(tmp_path)
    assert file.read_text() == "some avg10=0.00\n"


def test_a_plain_file_is_no_trigger_and_nothing_stays_open(tmp_path: Path) -> None:
    file = tmp_path / "proc/pressure/memory"
    file.parent.mkdir(parents=True)
    file.write_text("")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(PermissionError):
        StallTrigger(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
