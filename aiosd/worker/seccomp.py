"""A filter on system calls: what no inference needs is refused with EPERM, never killed for.

It names what is denied rather than what is allowed, because the engines' libraries differ by board
and release, and a new harmless call must not fail a worker. Network, other programs, other
processes and writing are what the list is about.
"""

import ctypes
import errno
import struct
from dataclasses import dataclass
from itertools import chain

from aiosd.worker.libc import syscall
from aiosd.worker.syscalls import (
    CHANNELS,
    EXAMINED,
    FILES,
    NETWORK,
    PROCESS,
    SECCOMP,
    SYSTEM,
)

# Classic BPF, <linux/bpf_common.h>: class | mode | operation.
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

# <linux/seccomp.h>; the low half of an argument lies first on the little-endian machines here.
_ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000
_NUMBER_AT = 0
_ARCHITECTURE_AT = 4
_ARGUMENTS_AT = 16
_SET_MODE_FILTER = 1
_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC

# The first number of the x32 calls, a second way into the same kernel functions.
_X32 = 0x4000_0000
# Every open(2) flag that leads to a write: the access mode, O_CREAT, O_TRUNC.
_WRITE_FLAGS = 0o3 | 0o100 | 0o1000
_CLONE_THREAD = 0x1_0000
# Terminal ioctls that put words into another process's mouth: TIOCSTI, TIOCLINUX.
_TERMINAL_INJECTIONS = (0x5412, 0x541C)

Instruction = tuple[int, int, int, int]
Program = list[Instruction]


@dataclass(frozen=True)
class Architecture:
    """A machine the filter is written for: its column of the numbers, and its audit name."""

    name: str
    column: int
    audit: int


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture("x86_64", 0, 0xC000_003E),
        Architecture("aarch64", 1, 0xC000_00B7),
    )
}


def write_filter(architecture: Architecture, pid: int, *, deny_writes: bool = True) -> Program:
    """Return the filter for the process `pid` on `architecture`, as BPF instructions.

    With `deny_writes` no file can be opened for writing; without it (an engine that opens device
    nodes late) that is left to Landlock. New threads are allowed, new processes are not.
    """
    program: Program = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        _refuse(errno.EPERM),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
    ]
    if architecture.name == "x86_64":
        program += [(_JUMP_AT_LEAST, 0, 1, _X32), _refuse(errno.EPERM)]
    groups = (NETWORK, PROCESS, FILES, CHANNELS, SYSTEM)
    for numbers in chain.from_iterable(group.values() for group in groups):
        program += _on(numbers[architecture.column], [_refuse(errno.EPERM)])
    for name, block in _examined(pid, deny_writes=deny_writes).items():
        program += _on(EXAMINED[name][architecture.column], block)
    program.append((_RETURN, 0, 0, _ALLOW))
    return program


def install(program: Program, architecture: Architecture) -> None:
    """Put the filter in force for every thread of this process, for good.

    The process must have given up new privileges (`PR_SET_NO_NEW_PRIVS`).

    Raises:
        OSError: the kernel has no seccomp filters, or a thread cannot take this one.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count, padding, a pointer.
    header = struct.pack("=H6xQ", len(program), ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(header, len(header))
    number = SECCOMP[architecture.column]
    thread = syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.addressof(holder))
    if thread:
        raise OSError(errno.ESRCH, f"thread {thread} has another filter already")


def _examined(pid: int, *, deny_writes: bool) -> dict[str, Program]:
    """Return the block of each call whose arguments decide."""
    blocks = {
        "clone": _if_any_bit(0, _CLONE_THREAD, then=_ALLOW, otherwise=_ERRNO | errno.EPERM),
        # Its flags lie in memory, out of a filter's reach; the C library falls back to clone.
        "clone3": [_refuse(errno.ENOSYS)],
        # Likewise; nobody falls back, because nobody calls it where openat does.
        "openat2": [_refuse(errno.ENOSYS)],
        "kill": _if_among(0, (pid,), then=_ALLOW, otherwise=_ERRNO | errno.EPERM),
        "tgkill": _if_among(0, (pid,), then=_ALLOW, otherwise=_ERRNO | errno.EPERM),
        "prlimit64": _if_among(0, (0, pid), then=_ALLOW, otherwise=_ERRNO | errno.EPERM),
        "ioctl": _if_among(1, _TERMINAL_INJECTIONS, then=_ERRNO | errno.EPERM, otherwise=_ALLOW),
    }
    if deny_writes:
        for name, position in (("open", 1), ("openat", 2)):
            blocks[name] = _if_any_bit(
                position, _WRITE_FLAGS, then=_ERRNO | errno.EPERM, otherwise=_ALLOW
            )
    return blocks


def _refuse(number: int) -> Instruction:
    """Return the instruction that ends a call with that error."""
    return (_RETURN, 0, 0, _ERRNO | number)


def _on(number: int | None, block: Program) -> Program:
    """Return `block` behind a test for the call of that number; nothing where there is none."""
    if number is None:
        return []
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def _low_half(position: int) -> Instruction:
    """Return the load of the low 32 bits of an argument; all arguments here are ints."""
    return (_LOAD_WORD, 0, 0, _ARGUMENTS_AT + 8 * position)


def _if_any_bit(position: int, mask: int, *, then: int, otherwise: int) -> Program:
    """Return a block that asks whether an argument has any bit of `mask`."""
    return [
        _low_half(position),
        (_JUMP_ANY_BIT, 0, 1, mask),
        (_RETURN, 0, 0, then),
        (_RETURN, 0, 0, otherwise),
    ]


def _if_among(position: int, values: tuple[int, ...], *, then: int, otherwise: int) -> Program:
    """Return a block that asks whether an argument is one of `values`."""
    block = [_low_half(position)]
    for value in values:
        block += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, then)]
    return [*block, (_RETURN, 0, 0, otherwise)]
