"""A word from the kernel when tasks wait for memory: a trigger on PSI, without any polling.

The kernel's Documentation/accounting/psi.rst: a threshold and a window are written to the file,
which then becomes ready for POLLPRI at most once per window. Without CAP_SYS_RESOURCE only windows
of whole 2 s are allowed.
"""

import os
import select
from pathlib import Path

STALL_US = 200_000
WINDOW_US = 2_000_000


class StallTrigger:
    """An open trigger; `fileno()` is ready to read when it fired.

    It is an epoll inside: event loops wait for data and hang-ups only, and this is neither.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Have the kernel tell when some task waited for memory for 0.2 s out of 2 s.

        Raises:
            OSError: PSI is off, or this kernel lets only root ask for it.
        """
        if (root / "SIMULATED").exists():
            raise OSError(0, "a simulated board has no triggers")
        path = root / "proc" / "pressure" / "memory"
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll = select.epoll()
        try:
            os.write(self._file, f"some {STALL_US} {WINDOW_US}\0".encode())
            self._epoll.register(self._file, select.EPOLLPRI)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._epoll.fileno()

    def lost(self) -> bool:
        """Tell, once it was ready, whether the kernel has taken the trigger away.

        Else it fired: who looks whether it is ready has taken note of that by looking.
        """
        return any(events & select.EPOLLERR for _, events in self._epoll.poll(0))

    def close(self) -> None:
        """Give the trigger back."""
        self._epoll.close()
        os.close(self._file)
