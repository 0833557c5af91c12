"""Which hierarchy has a controller at work, and where in it this process is."""

from pathlib import Path

from fakes.files import write_files

from aiosd.sensors.hierarchy import find_hierarchy

HYBRID = """\
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
"""
OWN = "8:pids:/\n4:memory:/box/inner\n1:cpu,cpuacct:/box\n0::/user.slice\n"


def test_on_a_hybrid_machine_each_controller_is_found_where_it_works(tmp_path: Path) -> None:
    controllers = "sys/fs/cgroup/unified/cgroup.controllers"
    write_files(
        tmp_path,
        {"proc/self/mountinfo": HYBRID, "proc/self/cgroup": OWN, controllers: "hugetlb io\n"},
    )
    top = tmp_path / "sys/fs/cgroup"
    memory, cpu, io = (find_hierarchy(each, tmp_path) for each in ("memory", "cpu", "io"))
    assert memory is not None
    assert (memory.version, memory.group) == (1, top / "memory/box/inner")
    assert list(memory.chain()) == [top / "memory/box/inner", top / "memory/box", top / "memory"]
    assert cpu is not None
    assert (cpu.version, cpu.group) == (1, top / "cpu,cpuacct/box")
    assert io is not None
    assert (io.version, io.group, io.place) == (2, top / "unified/user.slice", "/user.slice")
    assert find_hierarchy("rdma", tmp_path) is None


def test_a_container_that_sees_a_part_counts_its_place_from_there(tmp_path: Path) -> None:
    mount = "35 31 0:32 /docker/7 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": mount,
            "proc/self/cgroup": "0::/docker/7/app\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        },
    )
    found = find_hierarchy("memory", tmp_path)
    assert found is not None
    assert found.group == tmp_path / "sys/fs/cgroup/app"


def test_a_place_outside_of_what_is_mounted_counts_as_the_top(tmp_path: Path) -> None:
    mount = "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    write_files(
        tmp_path,
        {
            "proc/self/mountinfo": mount,
            "proc/self/cgroup": "0::/../other\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        },
    )
    found = find_hierarchy("cpu", tmp_path)
    assert found is not None
    assert found.group == found.top == tmp_path / "sys/fs/cgroup"


def test_without_proc_there_is_no_hierarchy(tmp_path: Path) -> None:
    assert find_hierarchy("memory", tmp_path) is None
