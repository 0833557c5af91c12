import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.files import write_files
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.reading import Pressure, ProcessSource
from aiosd.sensors.memory import parse_pressure, read_limits, read_memory, read_process

MEMINFO = """\
MemTotal:         426520 kB
MemFree:           20000 kB
MemAvailable:     210000 kB
Buffers:            5000 kB
Cached:           180000 kB
SwapTotal:        102396 kB
SwapFree:         100000 kB
HugePages_Total:       0
"""
PRESSURE = (
    "some avg10=0.10 avg60=2.00 avg300=3.85 total=15\n"
    "full avg10=0.20 avg60=3.00 avg300=4.95 total=25\n"
)
ROLLUP = """\
aaaab000-ffffd000 ---p 00000000 00:00 0                          [rollup]
Rss:               60000 kB
Pss:               41000 kB
Pss_Anon:          30000 kB
Anonymous:         35000 kB
SwapPss:             128 kB
"""
V1_MOUNTS = """\
24 1 8:1 / / rw - ext4 /dev/root rw
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
"""
V2_MOUNTS = "35 31 0:32 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
SLICE = "system.slice/aiosd.service/supervisor"


def test_available_memory_swap_and_pressure_are_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/meminfo": MEMINFO, "proc/pressure/memory": PRESSURE})
    reading = read_memory(tmp_path)
    assert reading.total_bytes == 426520 * 1024
    assert reading.available_bytes == 210000 * 1024
    assert reading.swap_used_bytes == 2396 * 1024
    assert reading.pressure == Pressure(some_10=0.1, some_60=2.0, full_10=0.2, full_60=3.0)


def test_a_kernel_without_pressure_reads_as_none(tmp_path: Path) -> None:
    assert read_memory(write_files(tmp_path, {"proc/meminfo": MEMINFO})).pressure is None


def test_an_old_kernel_without_available_memory_gets_free_and_cached(tmp_path: Path) -> None:
    text = "".join(line for line in MEMINFO.splitlines(keepends=True) if "Available" not in line)
    assert (
        read_memory(write_files(tmp_path, {"proc/meminfo": text})).available_bytes == 205000 * 1024
    )


def test_nothing_to_read_is_zero_and_no_error(tmp_path: Path) -> None:
    reading = read_memory(tmp_path)
    assert (reading.total_bytes, reading.available_bytes, reading.pressure) == (0, 0, None)


@given(st.text(max_size=200))
def test_any_text_is_pressure_or_none(text: str) -> None:
    assert parse_pressure(text) is None or "avg10=" in text


shares = st.integers(0, 10000).map(lambda hundredths: hundredths / 100)


@given(values=st.tuples(shares, shares, shares, shares))
def test_pressure_is_read_back_as_the_kernel_writes_it(
    values: tuple[float, float, float, float],
) -> None:
    some_10, some_60, full_10, full_60 = values
    text = (
        f"some avg10={some_10:.2f} avg60={some_60:.2f} avg300=0.00 total=1\n"
        f"full avg10={full_10:.2f} avg60={full_60:.2f} avg300=0.00 total=1\n"
    )
    assert parse_pressure(text) == Pressure(some_10, some_60, full_10, full_60)
    assert parse_pressure(text.splitlines()[0]) is None


def test_a_process_is_read_from_smaps_rollup(tmp_path: Path) -> None:
    memory = read_process(7, write_files(tmp_path, {"proc/7/smaps_rollup": ROLLUP}))
    assert memory is not None
    assert memory.pss_bytes == 41000 * 1024
    assert memory.anon_bytes == 30000 * 1024
    assert memory.swap_bytes == 128 * 1024
    assert memory.source == ProcessSource.SMAPS_ROLLUP


def test_an_older_rollup_without_proportional_anon_gives_all_of_it(tmp_path: Path) -> None:
    text = ROLLUP.replace("Pss_Anon:          30000 kB\n", "")
    memory = read_process(7, write_files(tmp_path, {"proc/7/smaps_rollup": text}))
    assert memory is not None
    assert memory.anon_bytes == 35000 * 1024


def test_statm_stands_in_where_rollup_is_shut(tmp_path: Path) -> None:
    memory = read_process(7, write_files(tmp_path, {"proc/7/statm": "9000 5000 3000 1 0 700 0\n"}))
    page = os.sysconf("SC_PAGE_SIZE")
    assert memory is not None
    assert (memory.pss_bytes, memory.anon_bytes) == (5000 * page, 2000 * page)
    assert memory.source == ProcessSource.STATM


@pytest.mark.parametrize("text", ["", "1 2", "a b c"])
def test_a_process_that_is_gone_is_none(tmp_path: Path, text: str) -> None:
    assert read_process(7, write_files(tmp_path, {"proc/7/statm": text})) is None
    assert read_process(8, tmp_path) is None


def test_a_real_process_shows_what_it_allocates() -> None:
    code = "import sys; held = bytearray(b'x' * 50_000_000); print(len(held)); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        memory = read_process(child.pid)
        child.stdin.close()
        child.wait()
    assert memory is not None
    assert 50_000_000 <= memory.anon_bytes <= memory.pss_bytes < 90_000_000


def test_the_tightest_limit_of_version_2_may_be_an_ancestors(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS,
            "proc/self/cgroup": f"0::/{SLICE}\n",
            f"{top}/cgroup.controllers": "cpuset cpu io memory pids\n",
            f"{top}/{SLICE}/memory.max": "max\n",
            f"{top}/system.slice/aiosd.service/memory.max": "900000000\n",
            f"{top}/system.slice/aiosd.service/memory.high": "800000000\n",
            f"{top}/system.slice/memory.max": "600000000\n",
        },
    )
    limits = read_limits(tmp_path)
    assert limits.version == 2
    assert [limit.limit_bytes for limit in limits.limits] == [600000000, 800000000, 900000000]
    assert limits.tightest is not None
    assert limits.tightest.path == "/sys/fs/cgroup/system.slice/memory.max"


def test_version_2_without_the_memory_controller_limits_nothing(tmp_path: Path) -> None:
    # Raspberry Pi OS: the files of a limit may be written by nobody and act on nothing.
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS,
            "proc/self/cgroup": f"0::/{SLICE}\n",
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        },
    )
    limits = read_limits(tmp_path)
    assert (limits.version, limits.limits, limits.tightest) == (0, (), None)


def test_version_1_counts_its_own_limits_and_passes_over_unlimited(tmp_path: Path) -> None:
    top = "sys/fs/cgroup/memory"
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": V1_MOUNTS,
            "proc/self/cgroup": "8:pids:/\n4:memory:/box/inner\n1:cpu,cpuacct:/\n0::/\n",
            f"{top}/memory.limit_in_bytes": "9223372036854771712\n",
            f"{top}/box/memory.limit_in_bytes": "500000000\n",
            f"{top}/box/inner/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    limits = read_limits(tmp_path)
    assert limits.version == 1
    assert [limit.limit_bytes for limit in limits.limits] == [500000000]


@pytest.mark.parametrize("place", ["/docker/abc", "/", "/../../elsewhere"])
def test_in_a_container_the_mounted_part_is_the_top(tmp_path: Path, place: str) -> None:
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS.replace(" / /sys", " /docker/abc /sys"),
            "proc/self/cgroup": f"0::{place}\n",
            "sys/fs/cgroup/cgroup.controllers": "memory\n",
            "sys/fs/cgroup/memory.max": "400000000\n",
        },
    )
    assert [limit.limit_bytes for limit in read_limits(tmp_path).limits] == [400000000]


def test_a_mount_point_with_a_space_is_unescaped(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS.replace("/sys/fs/cgroup", "/odd\\040place"),
            "proc/self/cgroup": "0::/\n",
            "odd place/cgroup.controllers": "memory\n",
            "odd place/memory.high": "400000000\n",
        },
    )
    assert [limit.limit_bytes for limit in read_limits(tmp_path).limits] == [400000000]


def test_a_machine_without_any_of_the_files_has_no_limits(tmp_path: Path) -> None:
    assert read_limits(tmp_path).version == 0


@given(mounts=st.text(max_size=200), own=st.text(max_size=100))
def test_any_kernel_text_gives_limits_and_no_error(
    tmp_path_factory: pytest.TempPathFactory, mounts: str, own: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    files = {"proc/self/mountinfo": mounts, "proc/self/cgroup": own}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_limits(root).limits == ()


@pytest.mark.parametrize(
    ("clean", "dirty", "anonymous", "mapped"),
    [
        (100_000, 45_000, 45_000, 100_000),
        (0, 145_000, 45_000, 100_000),  # the file was just written: its pages are dirty
        (2_000, 8_000, 12_000, 2_000),  # what is anonymous is shared with its parent
    ],
)
def test_what_a_process_has_mapped_alone_is_told_dirty_or_not(
    tmp_path: Path, clean: int, dirty: int, anonymous: int, mapped: int
) -> None:
    text = (
        f"Pss: 150000 kB\nPss_Anon: {anonymous} kB\n"
        f"Private_Clean: {clean} kB\nPrivate_Dirty: {dirty} kB\n"
    )
    memory = read_process(7, write_files(tmp_path, {"proc/7/smaps_rollup": text}))
    assert memory is not None
    assert memory.own_bytes == (clean + dirty) * 1024
    assert memory.mapped_bytes == mapped * 1024
