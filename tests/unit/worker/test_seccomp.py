"""The filter, run by a small BPF machine for both architectures, wherever the tests run."""

import errno
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.worker import syscalls
from aiosd.worker.seccomp import ARCHITECTURES, Architecture, Program, write_filter

PID = 4242
ALLOWED = 0x7FFF_0000
DENIED = 0x0005_0000 | errno.EPERM
UNKNOWN = 0x0005_0000 | errno.ENOSYS
GROUPS = {
    **syscalls.NETWORK,
    **syscalls.PROCESS,
    **syscalls.FILES,
    **syscalls.CHANNELS,
    **syscalls.SYSTEM,
}
X86 = ARCHITECTURES["x86_64"]
ARM = ARCHITECTURES["aarch64"]
# What inference lives on: (x86-64, aarch64), from the kernel's tables.
NEEDED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "madvise": (28, 233),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "exit": (60, 93),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "memfd_create": (319, 279),
    "rseq": (334, 293),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "ppoll": (271, 73),
}


def run(program: Program, number: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    """Return what the kernel's BPF machine would answer for a system call."""
    words = {0: number, 4: audit}
    for position, argument in enumerate(arguments):
        words[16 + 8 * position] = argument & 0xFFFF_FFFF
        words[20 + 8 * position] = argument >> 32 & 0xFFFF_FFFF
    accumulator = place = 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        match code:
            case 0x20:
                accumulator = words.get(value, 0)
            case 0x15:
                place += if_true if accumulator == value else if_false
            case 0x35:
                place += if_true if accumulator >= value else if_false
            case 0x45:
                place += if_true if accumulator & value else if_false
            case 0x06:
                return value
            case _:
                pytest.fail(f"instruction {code:#x} is not one of ours")


def ask(
    machine: Architecture, number: int | None, *arguments: int, deny_writes: bool = True
) -> int:
    assert number is not None
    program = write_filter(machine, PID, deny_writes=deny_writes)
    return run(program, number, machine.audit, arguments)


both = pytest.mark.parametrize("machine", [X86, ARM], ids=lambda machine: machine.name)


@both
@pytest.mark.parametrize("name", sorted(GROUPS))
def test_every_listed_call_is_denied(machine: Architecture, name: str) -> None:
    number = GROUPS[name][machine.column]
    if number is None:
        assert machine is ARM, "only the newer architecture lacks old calls"
    else:
        assert ask(machine, number) == DENIED


@both
@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_needed_call_is_allowed(machine: Architecture, name: str) -> None:
    assert ask(machine, NEEDED[name][machine.column]) == ALLOWED


@both
def test_threads_may_start_and_processes_may_not(machine: Architecture) -> None:
    clone = syscalls.EXAMINED["clone"][machine.column]
    pthread = 0x3D0F00  # what glibc's pthread_create passes
    assert ask(machine, clone, pthread) == ALLOWED
    assert ask(machine, clone, 0x1200011) == DENIED  # what its fork passes
    assert ask(machine, syscalls.EXAMINED["clone3"][machine.column]) == UNKNOWN


@both
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0o0, ALLOWED),
        (0o2000000, ALLOWED),  # O_CLOEXEC
        (0o1, DENIED),
        (0o2, DENIED),
        (0o3, DENIED),
        (0o100, DENIED),  # O_CREAT
        (0o1000, DENIED),  # O_TRUNC
        (0o20200002, DENIED),  # O_TMPFILE
    ],
)
def test_files_may_be_opened_for_reading_only(
    machine: Architecture, flags: int, expected: int
) -> None:
    openat = syscalls.EXAMINED["openat"][machine.column]
    assert ask(machine, openat, 0xFFFF_FF9C, 0, flags) == expected
    assert ask(machine, openat, 0xFFFF_FF9C, 0, flags, deny_writes=False) == ALLOWED
    if machine is X86:
        assert ask(machine, syscalls.EXAMINED["open"][0], 0, flags) == expected


@both
@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_only_the_process_itself_can_be_signalled(machine: Architecture, name: str) -> None:
    number = syscalls.EXAMINED[name][machine.column]
    assert ask(machine, number, PID) == ALLOWED
    for other in (0, 1, PID + 1, 0xFFFF_FFFF):
        assert ask(machine, number, other) == DENIED


@both
def test_only_its_own_limits_are_its_business(machine: Architecture) -> None:
    number = syscalls.EXAMINED["prlimit64"][machine.column]
    assert [ask(machine, number, pid) for pid in (0, PID, 1)] == [ALLOWED, ALLOWED, DENIED]


@both
def test_no_words_are_put_into_a_terminal(machine: Architecture) -> None:
    number = syscalls.EXAMINED["ioctl"][machine.column]
    assert ask(machine, number, 0, 0x5412) == DENIED
    assert ask(machine, number, 0, 0x5401) == ALLOWED


@both
@given(number=st.integers(0, 0xFFFF_FFFF), audit=st.integers(0, 0xFFFF_FFFF))
def test_calls_of_another_architecture_are_denied(
    machine: Architecture, number: int, audit: int
) -> None:
    answer = run(write_filter(machine, PID), number, audit)
    assert answer == DENIED or audit == machine.audit


@given(number=st.integers(0x4000_0000, 0xFFFF_FFFF))
def test_the_second_way_into_the_x86_kernel_is_shut(number: int) -> None:
    assert ask(X86, number) == DENIED


@both
@given(number=st.integers(0, 600), arguments=st.tuples(*[st.integers(0, (1 << 64) - 1)] * 6))
def test_every_call_gets_one_of_three_answers(
    machine: Architecture, number: int, arguments: tuple[int, ...]
) -> None:
    assert ask(machine, number, *arguments) in (ALLOWED, DENIED, UNKNOWN)


@both
def test_the_filter_is_within_the_kernels_limits(machine: Architecture) -> None:
    program = write_filter(machine, PID)
    assert len(program) <= 4096  # BPF_MAXINSNS
    for place, (_, if_true, if_false, value) in enumerate(program):
        assert 0 <= if_true <= 255
        assert 0 <= if_false <= 255
        assert place + 1 + max(if_true, if_false) <= len(program)
        assert 0 <= value <= 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0),
        ("/usr/include/asm-generic/unistd.h", 1),
    ],
)
def test_the_numbers_are_those_of_the_kernels_headers(header: str, column: int) -> None:
    if not Path(header).exists():
        pytest.skip(f"needs {header} (Linux headers)")
    text = Path(header).read_text(encoding="utf-8")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    real = {name: int(number) for name, number in reversed(found)}
    ours = {name: numbers[column] for name, numbers in {**GROUPS, **syscalls.EXAMINED}.items()}
    ours |= {name: numbers[column] for name, numbers in NEEDED.items()}
    ours["seccomp"] = syscalls.SECCOMP[column]
    ours["landlock_create_ruleset"] = syscalls.LANDLOCK_CREATE_RULESET
    ours["landlock_add_rule"] = syscalls.LANDLOCK_ADD_RULE
    ours["landlock_restrict_self"] = syscalls.LANDLOCK_RESTRICT_SELF
    wrong = {
        name: (number, real.get(name))
        for name, number in ours.items()
        # A header may be older than a call; it may not say otherwise.
        if name in real and real[name] != number
    }
    assert not wrong
    checked = [name for name in ours if name in real]
    assert len(checked) > 90
