"""Starting a process of ours with a pipe to it, and learning how it ended."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

# NumPy's and llama.cpp's thread pools must not exist before a fork; engines set their own number.
# Threads that wait for each other sleep: while anybody else keeps one of them from its core, the
# others would spin through their own time, and two threads be many times slower than one.
THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}


class Child:
    """A process that the daemon started itself: a host, a worker of its own, or the uplink."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arguments: list[str],
        environment: Mapping[str, str],
        on_exit: Callable[[str], None],
        module: str = "aiosd.worker",
    ) -> None:
        """Start `python -m MODULE` with a pipe; `on_exit` is told how it ended.

        Raises:
            OSError: the process cannot be started.
        """
        self.end, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", module, "--fd", str(far.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
                env={**environment, **THREADS},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._loop = loop
        self._on_exit = on_exit
        self._handle = os.pidfd_open(self.pid)
        loop.add_reader(self._handle, self._ended)

    def kill(self) -> None:
        """End the process now; `on_exit` follows."""
        self._process.kill()

    def join(self, seconds: float) -> None:
        """Wait for the end of a process that was told to end; kill it when the time is up.

        Blocking, for the daemon's last moments only.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> None:
        """Collect the process."""
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        code = self._process.wait()
        self._on_exit(describe(max(code, 0), max(-code, 0)))


class Orphan:
    """A worker whose host is gone: it can still be watched and killed, by a pidfd."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handle: int, on_exit: Callable[[str], None]
    ) -> None:
        """Take over the pidfd `handle`."""
        self._loop = loop
        self._handle = handle
        self._on_exit = on_exit
        loop.add_reader(handle, self._ended)

    def _ended(self) -> None:
        self._loop.remove_reader(self._handle)
        self._on_exit("ended, nobody saw how: its engine host was gone")


def describe(status: int, number: int) -> str:
    """Say how a process ended, for people."""
    if number == signal.SIGKILL:
        return "killed by SIGKILL (by the kernel, if memory ran out)"
    if number in set(signal.Signals):
        return f"crashed with {signal.Signals(number).name}"
    if number:
        return f"ended by signal {number}"
    return f"exited with status {status}"
