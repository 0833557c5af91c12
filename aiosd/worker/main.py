"""A worker: one expert in one process, pipe → pipeline → engine → pipe, until the pipe closes."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import msgspec

from aiosd.domain.errors import AiosdError, InvalidError, PackageError
from aiosd.domain.manifest import PackageFile
from aiosd.protocol.pipe import (
    CancelRequest,
    Failed,
    LoadExpert,
    LoadFailed,
    Measured,
    Pace,
    Park,
    Parked,
    Piece,
    Resume,
    Resumed,
    RunRequest,
    ToWorker,
    WorkerReady,
)
from aiosd.sensors.memory import read_process
from aiosd.worker.channel import Channel
from aiosd.worker.confine import (
    confine_after_load,
    confine_at_start,
    enter_groups,
    open_entrances,
)
from aiosd.worker.expert import Expert, failure, map_payload
from aiosd.worker.pace import Pacer

log = logging.getLogger(__name__)

# Memory is read after the first answers, when buffers have reached their size, then now and then:
# the kernel takes a millisecond or more to count it, which a next request may have to wait for.
MEASURE_FIRST = 2
MEASURE_SECONDS = 5.0
# Packages of this size and more enter their control groups before they load, and are measured
# before they answer; of smaller ones that takes as long as a part of the load, and somebody waits.
LARGE_BYTES = 8 << 20
# Nobody waits for a worker to which nothing was said for so long.
REST_SECONDS = 0.02

# Made at import, so that a host pays once for all the workers it forks.
_ORDERS: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


class Worker:
    """The life of one expert's process."""

    def __init__(self, channel: Channel[ToWorker], pid: int) -> None:
        """Speak with the daemon through `channel`."""
        self._channel = channel
        self._pid = pid
        self._expert: Expert | None = None
        self._request = 0
        self._entering: Thread | None = None
        self._answered = 0
        self._measured = 0.0
        self._unmeasured = False
        self._pacer = Pacer(time.perf_counter, time.process_time, channel.wait)

    def serve(self) -> int:
        """Take orders until the pipe closes; return the exit status."""
        receive, run = self._channel.receive, self._run
        while True:
            self._rest()
            order = receive()
            match order:
                case RunRequest():
                    run(order)
                case None:
                    return 0
                case LoadExpert():
                    if not self._load(order):
                        return 1
                case Park():
                    self._park(order)
                case Resume():
                    self._resume()
                case CancelRequest():
                    pass  # its request has ended already
                case Pace():
                    pass  # likewise: each request says what it may use

    def _rest(self) -> None:
        """Measure what was not measured yet, if nobody waits."""
        if self._unmeasured and self._channel.idle(REST_SECONDS):
            self._measure()

    def _load(self, order: LoadExpert) -> bool:
        """Become the expert, and say how that went."""
        start = time.perf_counter()
        self._entering = _enter(order)
        if order.gentle:
            _stand_back()
        walls = confine_at_start(list(_needed(order)))
        try:
            self._expert = Expert(order)
            walls = confine_after_load(walls)
        except PackageError as error:
            self._channel.send(LoadFailed(reason=error.message))
            return False
        except (MemoryError, OSError) as error:
            self._channel.send(LoadFailed(reason=f"{type(error).__name__}: {error}"))
            return False
        self._unmeasured = order.awaited and not _is_large(order)
        memory = None if self._unmeasured else read_process(self._pid)
        self._channel.send(
            WorkerReady(
                pid=self._pid,
                engine=self._expert.engine.version(),
                load_ms=(time.perf_counter() - start) * 1e3,
                pss_bytes=memory.pss_bytes if memory else 0,
                own_bytes=memory.own_bytes if memory else 0,
                verified=order.verify,
                confinement=walls,
                measured=not self._unmeasured,
                mapped_bytes=memory.mapped_bytes if memory else 0,
                parks=self._expert.parks,
            )
        )
        return True

    def _run(self, order: RunRequest) -> None:
        """Answer one request, or say why not; the worker lives on either way."""
        expert = self._expert
        if expert is None:
            raise RuntimeError("a request came before an expert was loaded")
        payload: memoryview | bytes | None = order.payload
        if order.descriptor_bytes is not None:
            payload = map_payload(self._channel.take_descriptor(), order.descriptor_bytes)
        self._pacer.duty, self._pacer.threads = order.duty, order.threads
        expert.engine.use_threads(order.threads)
        self._pacer.begin()
        self._request = order.id
        try:
            done = expert.answer(order, payload, self._emit, self._cancelled)
        except (AiosdError, PackageError) as error:
            self._fail(order.id, failure(error))
        except MemoryError:
            self._fail(order.id, InvalidError("this input needs more memory than there is"))
        else:
            self._channel.send(done)
            self._measure()
            self._answered += 1
        self._pacer.end()

    def _fail(self, request: int, error: AiosdError) -> None:
        self._channel.send(
            Failed(id=request, code=error.code, message=error.message, details=error.details)
        )

    def _measure(self) -> None:
        """Tell what this process holds, if it is time to look."""
        if self._entering is not None:  # the daemon looks when it hears what is held
            self._entering.join()
            self._entering = None
        now = time.monotonic()
        if self._unmeasured:
            self._unmeasured = False  # at once, whether it has answered or not
        elif self._answered >= MEASURE_FIRST and now - self._measured < MEASURE_SECONDS:
            return
        self._measured = now
        memory = read_process(self._pid)
        if memory:
            self._channel.send(
                Measured(
                    pss_bytes=memory.pss_bytes,
                    own_bytes=memory.own_bytes,
                    mapped_bytes=memory.mapped_bytes,
                )
            )

    def _park(self, order: Park) -> None:
        """Give memory back, and tell what is left."""
        if self._expert is not None:
            self._expert.park(pages=order.pages)
        memory = read_process(self._pid)
        self._channel.send(
            Parked(
                pss_bytes=memory.pss_bytes if memory else 0,
                own_bytes=memory.own_bytes if memory else 0,
                mapped_bytes=memory.mapped_bytes if memory else 0,
            )
        )

    def _resume(self) -> None:
        """Take back what parking gave up, and say how long that took.

        Raises:
            SystemExit: there is no memory for it; the daemon was told.
        """
        if self._expert is None:
            raise RuntimeError("told to come back before an expert was loaded")
        try:
            context, pages = self._expert.resume()
        except (PackageError, MemoryError) as error:
            reason = error.message if isinstance(error, PackageError) else "no memory"
            self._channel.send(LoadFailed(reason=f"cannot be resumed: {reason}"))
            raise SystemExit(1) from None
        self._answered = 0  # what it holds is measured anew
        self._channel.send(
            Resumed(context_ms=context * 1e3, pages_ms=None if pages is None else pages * 1e3)
        )

    def _emit(self, text: str) -> None:
        """Send a piece of streamed text."""
        self._channel.send(Piece(id=self._request, text=text))

    def _cancelled(self) -> bool:
        """Rest if the pace asks for it, then look for a word from the daemon."""
        self._pacer.pause()
        try:
            order = self._channel.poll()
        except EOFError:
            raise SystemExit(0) from None
        if isinstance(order, Pace) and self._expert is not None:
            self._pacer.duty, self._pacer.threads = order.duty, order.threads
            self._expert.engine.use_threads(order.threads)
        return isinstance(order, CancelRequest) and order.id == self._request


def _needed(order: LoadExpert) -> Iterator[Path]:
    """Yield what the expert must be able to read: its folders, and where links in them lead."""
    packages: list[tuple[str, Sequence[PackageFile]]] = [(order.folder, order.manifest.files)]
    if order.base is not None:
        packages.append((order.base.folder, order.base.files))
    for folder, files in packages:
        yield Path(folder)
        for file in files:
            path = Path(folder) / file.path
            if path.is_symlink():
                yield path.resolve()


def _enter(order: LoadExpert) -> Thread | None:
    """Begin to enter the order's control groups; whoever is large is inside before it loads.

    The kernel makes a process that enters wait for some milliseconds, 18 with two hierarchies on
    the machine where it was measured, which is longer than a small expert takes to load and to
    answer. What it touches until it is inside is counted outside.
    """
    handles = open_entrances(order.groups)
    if not handles:
        return None
    if _is_large(order) or order.gentle:  # one that stands back would hold locks in there
        enter_groups(handles)
        return None
    entering = Thread(target=enter_groups, args=(handles,))
    entering.start()
    return entering


def _stand_back() -> None:
    """Take the processor only while nobody else wants it.

    To be nice is not enough: who is only that still ends its slice of some milliseconds first.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _is_large(order: LoadExpert) -> bool:
    """Tell whether a package is so large that the books must know it before it answers."""
    return sum(file.size for file in order.manifest.files) >= LARGE_BYTES


def run_worker(handle: int, pid: int) -> int:
    """Be a worker on the pipe `handle`; return the exit status."""
    channel: Channel[ToWorker] = Channel(handle, _ORDERS)
    with contextlib.closing(channel):
        try:
            return Worker(channel, pid).serve()
        except BrokenPipeError:
            return 0  # the daemon is gone, and nobody is left to answer
