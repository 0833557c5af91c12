"""The few system calls that Python has no name for."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


def syscall(number: int, *arguments: int) -> int:
    """Make a system call with up to six integers or addresses, and return its result.

    Raises:
        OSError: the kernel refuses.
    """
    words = [ctypes.c_long(argument) for argument in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, argument: int) -> None:
    """Set a property of this process (prctl(2)) that takes one argument.

    Raises:
        OSError: the kernel refuses.
    """
    rest = (ctypes.c_ulong(0),) * 3
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), *rest) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
