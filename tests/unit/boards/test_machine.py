from pathlib import Path

import pytest

from aiosd.boards.machine import read_machine, refusal

# Lines as the boards print them (hrw/arm-socs-table, cpuinfo data), one block a core.
PI_4 = (
    "processor\t: {}\nFeatures        : fp asimd evtstrm crc32 cpuid\nCPU part        : 0xd08\n\n"
)
PI_5 = (
    "processor\t: {}\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp "
    "cpuid asimdrdm lrcpc dcpop asimddp\nCPU part\t: 0xd0b\n\n"
)
N100 = "processor\t: {}\nmodel name\t: Intel(R) N100\nflags\t\t: fpu sse4_2 avx avx2 fma\n\n"


def proc(tmp_path: Path, block: str, cores: int, tail: str = "") -> Path:
    (tmp_path / "cpuinfo").write_text("".join(block.format(i) for i in range(cores)) + tail)
    (tmp_path / "meminfo").write_text("MemTotal:        8245616 kB\nMemFree:  1 kB\n")
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "sys" / "kernel" / "osrelease").write_text("6.6.31+rpt-rpi-2712\n")
    (tmp_path / "device-tree").mkdir()
    (tmp_path / "device-tree" / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    return tmp_path


def test_a_pi_5_is_described_by_its_kernel(tmp_path: Path) -> None:
    machine = read_machine(
        proc(tmp_path, PI_5, 4, "Hardware\t: BCM2835\nModel\t\t: x\n"),
        architecture="aarch64",
        allowed_cores=64,
    )
    assert machine.ram_bytes == 8245616 * 1024
    assert machine.cores == 4
    assert machine.kernel == "6.6.31+rpt-rpi-2712"
    assert machine.board_model == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.lacks(["asimddp", "i8mm", "atomics", "sve"]) == ["i8mm", "sve"]


def test_a_pi_4_lacks_the_dot_product(tmp_path: Path) -> None:
    machine = read_machine(proc(tmp_path, PI_4, 4), allowed_cores=2)
    assert machine.cores == 2
    assert machine.lacks(["crc32", "asimddp"]) == ["asimddp"]


def test_a_feature_counts_only_if_every_core_has_it(tmp_path: Path) -> None:
    machine = read_machine(proc(tmp_path, PI_5, 2, PI_4.format(2)), allowed_cores=8)
    assert machine.cores == 3
    assert machine.isa == {"fp", "asimd", "evtstrm", "crc32", "cpuid"}


def test_an_x86_processor_is_known_by_its_model_name(tmp_path: Path) -> None:
    machine = read_machine(proc(tmp_path, N100, 4), allowed_cores=4)
    assert machine.cpu_model == "Intel(R) N100"
    assert machine.lacks(["avx2", "avx512f"]) == ["avx512f"]


def test_missing_files_leave_facts_empty(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, allowed_cores=3)
    assert (machine.ram_bytes, machine.cores, machine.isa) == (0, 3, frozenset())
    assert (machine.kernel, machine.cpu_model, machine.board_model) == ("", "", "")


def test_this_machine_has_ram_cores_and_a_kernel() -> None:
    machine = read_machine()
    assert machine.ram_bytes > 100_000_000
    assert machine.cores >= 1
    assert machine.kernel
    assert machine.isa
    assert refusal(machine) is None


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("aarch64", "install the 64-bit image"), ("armv7l", "needs a 64-bit ARM or x86 board")],
)
def test_a_32_bit_user_land_is_refused_plainly(
    tmp_path: Path, architecture: str, expected: str
) -> None:
    machine = read_machine(tmp_path, architecture=architecture, word_bits=32, allowed_cores=4)
    reason = refusal(machine)
    assert reason is not None
    assert expected in reason
