import os
from pathlib import Path

import pytest
from fakes.board import CPUFREQ, FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.sensors.cpu import CpuGauge, parse_stat
from aiosd.sensors.kernel_file import SensorError


def test_busy_seconds_leave_out_idle_and_waiting(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    FakeBoard(tmp_path).cpus([3 * ticks, ticks])
    assert CpuGauge(tmp_path).read(5.0).busy_seconds == ((0, 3.0), (1, 1.0))


def test_interrupts_and_a_hypervisors_share_are_busy_and_guests_count_once() -> None:
    text = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu7 1 2 4 1000 1000 8 16 32 1 2\n"
    assert parse_stat(text, 1) == ((7, 63.0),)


def test_a_cpu_that_is_offline_is_missing(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([100, 100])
    gauge = CpuGauge(tmp_path)
    board.cpus([100])
    assert [cpu for cpu, _ in gauge.read(0.0).busy_seconds] == [0]


def test_policies_are_in_order_of_number_with_clocks_and_states(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).cpus([0] * 12)
    board.policy(10, [10, 11], max_khz=2400000, current_khz=1200000)
    board.policy(4, [4, 5], max_khz=1800000, states=[(408000, 250), (1800000, 50)])
    board.write({"sys/devices/system/cpu/cpu4/cpu_capacity": 530})
    first, second = CpuGauge(tmp_path).read(0.0).policies
    assert (first.name, first.cpus, first.capacity) == ("policy4", (4, 5), 530)
    assert first.time_in_state == ((408000, 2.5), (1800000, 0.5))
    assert (second.name, second.current_khz, second.limit_khz) == ("policy10", 1200000, 2400000)


@pytest.mark.parametrize("text", ["<unknown>", "", "<unsupported>", "-5"])
def test_a_clock_that_is_not_told_is_unknown(tmp_path: Path, text: str) -> None:
    board = FakeBoard(tmp_path).cpus([0]).policy(0, [0], max_khz=1500000)
    board.write({f"{CPUFREQ}/policy0/scaling_cur_freq": text})
    board.break_file(f"{CPUFREQ}/policy0/scaling_max_freq")
    policy = CpuGauge(tmp_path).read(0.0).policies[0]
    assert (policy.current_khz, policy.limit_khz, policy.max_khz) == (0, 0, 1500000)


def test_a_machine_without_proc_stat_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="No such file"):
        CpuGauge(tmp_path)


def test_a_proc_stat_without_cpus_is_an_error(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write({"proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\n"})
    with pytest.raises(SensorError, match="no line of a CPU"):
        CpuGauge(tmp_path).read(0.0)


def test_this_machines_own_cpus_can_be_read() -> None:
    gauge = CpuGauge()
    first, second = gauge.read(0.0), gauge.read(1.0)
    gauge.close()
    assert len(first.busy_seconds) >= 1
    assert sum(busy for _, busy in second.busy_seconds) >= sum(
        busy for _, busy in first.busy_seconds
    )


@given(st.text(max_size=300))
def test_any_text_is_cpus_or_nothing(text: str) -> None:
    assert all(busy >= 0 for _, busy in parse_stat(text, 100))


def test_without_clocks_only_busy_seconds_are_read(tmp_path: Path) -> None:
    FakeBoard(tmp_path).cpus([0, 0]).policy(0, [0, 1], max_khz=1500000)
    reading = CpuGauge(tmp_path, clocks=False).read(0.0)
    assert (len(reading.busy_seconds), reading.policies) == (2, ())
