"""An engine host: one engine imported, nothing loaded, one thread; it forks workers fast.

It never touches a model, so that the fork is safe; closing its pipe ends it and all its workers.
"""

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback

import msgspec

from aiosd.domain.errors import PackageError
from aiosd.engines.engine import find_engine
from aiosd.protocol.pipe import (
    Exited,
    HostFailed,
    HostReady,
    Spawn,
    Spawned,
    ToHost,
    Weigh,
    Weighed,
)
from aiosd.sensors.memory import read_process
from aiosd.worker.channel import Channel
from aiosd.worker.main import run_worker

log = logging.getLogger(__name__)

# What a worker of these engines will want; imported once, before the fork, if it is installed.
_WARM = {
    "litert": ("image", "audio", "text", "series", "tensor", "scores", "boxes"),
    "llama": ("text", "generated", "prompt"),
    "echo": (),
}


class Host:
    """Forks workers on demand and reports their ends."""

    def __init__(self, handle: int, engine: str) -> None:
        """Speak with the daemon through the descriptor `handle`."""
        self._channel: Channel[ToHost] = Channel(handle, msgspec.msgpack.Decoder(ToHost))
        self._engine = engine
        self._workers: dict[int, int] = {}
        self._wake, self._alarm = socket.socketpair()

    def serve(self) -> int:
        """Import the engine, then fork workers until the pipe closes; return the exit status."""
        start = time.perf_counter()
        try:
            warm(self._engine)
        except PackageError as error:
            self._channel.send(HostFailed(reason=error.message))
            return 1
        self._watch_children()
        gc.collect()
        gc.freeze()
        memory = read_process(os.getpid())
        self._channel.send(
            HostReady(
                pid=os.getpid(),
                version=find_engine(self._engine)().version(),
                import_ms=(time.perf_counter() - start) * 1e3,
                pss_bytes=memory.pss_bytes if memory else 0,
            )
        )
        with contextlib.suppress(BrokenPipeError):
            self._loop()
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        return 0

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._channel.socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {handle for handle, _ in poll.poll()}
            if self._wake.fileno() in ready:
                self._reap()
            if self._channel.socket.fileno() in ready:
                try:
                    while (order := self._channel.poll()) is not None:  # more than one may be there
                        self._obey(order)
                except EOFError:
                    return

    def _obey(self, order: ToHost) -> None:
        match order:
            case Spawn():
                self._spawn(order.token, self._channel.take_descriptor())
            case Weigh():
                self._weigh()

    def _weigh(self) -> None:
        """Tell what is held in common: all shares of shared pages, here and in the workers.

        The daemon does not count it itself, as the kernel takes milliseconds for each process.
        """
        common = 0
        for pid in (os.getpid(), *self._workers):
            memory = read_process(pid)
            if memory is not None:
                own = memory.own_bytes if pid in self._workers else 0
                common += max(0, memory.pss_bytes - own)
        self._channel.send(Weighed(common_bytes=common))

    def _spawn(self, token: int, handle: int) -> None:
        """Fork a worker on the pipe `handle`."""
        pid = os.fork()
        if pid == 0:
            self._become_worker(handle)
        os.close(handle)
        self._workers[pid] = token
        self._channel.send(Spawned(token=token, pid=pid))

    def _become_worker(self, handle: int) -> None:
        """Leave everything of the host behind and be a worker; never returns."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            self._wake.close()
            self._alarm.close()
            status = run_worker(handle, os.getpid())
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else 0
        finally:
            if sys.exc_info()[0] is not None:  # os._exit would swallow it
                traceback.print_exc()
            # A forked child must not run its parent's exit handlers.
            logging.shutdown()
            os._exit(status)

    def _watch_children(self) -> None:
        """Wake the loop when a worker ends."""
        self._wake.settimeout(0)
        self._alarm.settimeout(0)
        signal.set_wakeup_fd(self._alarm.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _reap(self) -> None:
        """Collect the workers that ended, and say how."""
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._channel.send(
                Exited(
                    token=self._workers.pop(pid),
                    pid=pid,
                    status=max(code, 0),
                    signal=max(-code, 0),
                )
            )


def warm(engine: str) -> None:
    """Import the engine and what its workers will use, without making anything.

    Raises:
        PackageError: there is no such engine, or it cannot be imported.
    """
    find_engine(engine)
    for name in _WARM.get(engine, ()):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"aiosd.pipelines.{name}")
