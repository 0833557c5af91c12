"""The expert workers: started, spoken with, stopped; the broker is told what happens to each."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from aiosd.daemon.workers.child import Child
from aiosd.daemon.workers.control_groups import ControlGroups, Ending
from aiosd.daemon.workers.hosts import Forked, Hosts
from aiosd.daemon.workers.memory_watch import MemoryWatch
from aiosd.daemon.workers.niceness import Niceness
from aiosd.daemon.workers.pipe import Pipe
from aiosd.domain.request import Priority
from aiosd.policy.memory.allotment import memory_limit
from aiosd.protocol.pipe import (
    CancelRequest,
    Done,
    Failed,
    FromWorker,
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
    WorkerReady,
)
from aiosd.sensors.memory import read_process

log = logging.getLogger(__name__)

# A load that nobody waits for stands back for so long at most, so that it ends on a busy board too.
GENTLE_SECONDS = 0.5
# Larger payloads go through a memory descriptor: one copy in, none out.
INLINE_BYTES = 65_536


class Listener(Protocol):
    """Who is told what workers say; the broker."""

    def on_worker_ready(self, expert: str, ready: WorkerReady) -> None:
        """The expert is loaded."""

    def on_piece(self, expert: str, piece: Piece) -> None:
        """A piece of streamed text came."""

    def on_done(self, expert: str, done: Done) -> None:
        """A request was answered."""

    def on_measured(self, expert: str, measured: Measured) -> None:
        """The worker tells what it holds."""

    def on_parked(self, expert: str, parked: Parked) -> None:
        """The worker gave back what it could, and tells what it still holds."""

    def on_resumed(self, expert: str, resumed: Resumed) -> None:
        """A parked worker can answer again."""

    def on_failed(self, expert: str, failed: Failed) -> None:
        """A request could not be answered."""

    def on_worker_exited(self, expert: str, reason: str, outgrown_bytes: int = 0) -> None:
        """The worker's process is gone; it went over a limit of so many bytes, unless that is 0."""


@dataclass
class Worker:
    """One worker process."""

    expert: str
    release: int
    pipe: Pipe[FromWorker] | None = None
    process: Child | Forked | None = None
    ready: WorkerReady | None = None
    checked: bool = False
    failure: str = ""
    priority: Priority = Priority.NORMAL
    nice: int | None = None
    threads: int = 0
    stands_back: bool = False


class Workers:
    """All workers of this daemon, one per loaded expert."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hosts: Hosts | None,
        environment: Mapping[str, str],
        groups: ControlGroups,
        watch: MemoryWatch,
    ) -> None:
        """Fork workers from `hosts`, or start each as a process of its own where that is None.

        Each gets a group of its own among `groups`; `watch` looks after those that run.
        """
        self.watch = watch
        self._loop = loop
        self._hosts = hosts
        self.groups = groups
        self._environment = environment
        self._listener: Listener | None = None
        self._niceness = Niceness()
        self.workers: dict[str, Worker] = {}

    def pids(self) -> list[tuple[str, int]]:
        """Return the process of each loaded expert."""
        return [(name, worker.ready.pid) for name, worker in self.workers.items() if worker.ready]

    def pid(self, expert: str) -> int | None:
        """Return the process of an expert that is loaded or loading, once there is one."""
        worker = self.workers.get(expert)
        return worker.process.pid if worker and worker.process else None

    def held(self, pss: int, own: int) -> int:
        """Return what a worker counts in the books: see `Ledger`."""
        return pss if self._hosts is None else own

    def held_now(self, expert: str) -> int:
        """Return what a loaded expert's worker holds at this moment; takes milliseconds."""
        worker = self.workers.get(expert)
        memory = read_process(worker.ready.pid) if worker and worker.ready else None
        return self.held(memory.pss_bytes, memory.own_bytes) if memory else 0

    def listen(self, listener: Listener) -> None:
        """Tell `listener` everything from now on."""
        self._listener = listener

    def start(
        self,
        expert: str,
        engine: str,
        order: LoadExpert,
        booked_bytes: int,
        *,
        gentle: bool = False,
    ) -> None:
        """Start a worker and have it load; `on_worker_ready` or `on_worker_exited` follows.

        Before anything else it enters the group that is made for it, so that nothing of the model
        is counted elsewhere; `booked_bytes` are what the books reserve for it. A `gentle` one first
        loads while others leave the processor idle, where it may be given its turn again.

        Raises:
            OSError: no process or pipe can be made.
        """
        worker = Worker(expert, order.manifest.release)
        self.groups.open(expert, memory_limit(booked_bytes))
        entrances = self.groups.entrances(expert)
        try:
            end = self._launch(worker, engine, entrances)
        except OSError:
            self.groups.close(expert)
            raise
        worker.pipe = Pipe(
            self._loop,
            end,
            msgspec.msgpack.Decoder(FromWorker),
            partial(self._on_message, worker),
            # Else its exit is what counts, and says more.
            lambda reason: self._end(worker, reason) if reason else None,
        )
        self.workers[expert] = worker
        worker.stands_back = gentle and self._niceness.able
        worker.pipe.send(
            msgspec.structs.replace(order, groups=entrances, gentle=worker.stands_back)
        )
        if worker.stands_back:
            self._loop.call_later(GENTLE_SECONDS, self._step_up, worker)
        self.watch.wake()

    def _launch(self, worker: Worker, engine: str, entrances: list[str]) -> socket.socket:
        """Start the process, and return our end of its pipe.

        Raises:
            OSError: no process or pipe can be made.
        """
        if self._hosts is None:
            arguments = ["--parent", str(os.getpid())]
            for each in entrances:
                arguments += ["--group", each]
            child = Child(
                self._loop, arguments, self._environment, lambda how: self._gone(worker, how)
            )
            worker.process = child
            return child.end
        end, far = socket.socketpair()
        with far:
            worker.process = self._hosts.fork(engine, far, lambda how: self._gone(worker, how))
        return end

    def _step_up(self, worker: Worker) -> None:
        """Let a worker that stood back compete as others do."""
        if worker.stands_back and worker.process is not None and worker.process.pid is not None:
            worker.stands_back = False
            self._niceness.step_up(worker.process.pid)

    def run(self, expert: str, request: RunRequest, payload: bytes | memoryview | None) -> None:
        """Hand a request to the expert's worker.

        Raises:
            OSError: there is no memory for the payload.
        """
        self.workers[expert].threads = request.threads
        pipe = self._pipe(expert)
        if payload is None:
            pipe.send(request)  # the usual case
        elif len(payload) < INLINE_BYTES:
            pipe.send(msgspec.structs.replace(request, payload=bytes(payload)))
        else:
            sized = msgspec.structs.replace(request, descriptor_bytes=len(payload))
            pipe.send(sized, _in_memory(payload))
        self.watch.wake()

    def adjust(self, expert: str, threads: int, duty: float) -> None:
        """Tell a worker that is answering what it may use from its next step on."""
        self.workers[expert].threads = threads
        self._pipe(expert).send(Pace(threads=threads, duty=duty))

    def rank(self, expert: str, priority: Priority) -> None:
        """Let a worker be as nice to others as what it is about to answer demands."""
        worker = self.workers[expert]
        if worker.priority is not priority and worker.ready is not None:
            worker.priority = priority
            worker.nice = self._niceness.set(worker.ready.pid, priority)

    def limit(self, expert: str, booked_bytes: int) -> None:
        """Have the kernel hold an expert's worker to what the books give it, where it can."""
        self.groups.limit_memory(expert, memory_limit(booked_bytes))

    def weigh(self, expert: str, priority: Priority) -> None:
        """Let an expert's worker compete for the processor as this priority does."""
        self.groups.weigh(expert, priority)

    def cancel(self, expert: str, request: int) -> None:
        """Tell the expert's worker to stop answering."""
        self._pipe(expert).send(CancelRequest(id=request))

    def park(self, expert: str, *, pages: bool) -> None:
        """Tell the expert's worker to give back its context; `on_parked` follows."""
        self._pipe(expert).send(Park(pages=pages))

    def resume(self, expert: str) -> None:
        """Tell the expert's parked worker to come back; `on_resumed` follows."""
        self._pipe(expert).send(Resume())

    def stop(self, expert: str) -> None:
        """Close the expert's pipe, upon which its worker exits."""
        self._pipe(expert).close()

    def kill(self, expert: str, why: str) -> None:
        """End the expert's worker now."""
        worker = self.workers.get(expert)
        if worker is not None:
            self._end(worker, why)

    def _end(self, worker: Worker, why: str) -> None:
        """End a worker now, and remember why."""
        worker.failure = worker.failure or why
        if isinstance(worker.process, Child):
            worker.process.kill()
        elif worker.process is not None and self._hosts is not None:
            self._hosts.kill(worker.process)

    def close(self, seconds: float) -> None:
        """Close every pipe, and wait for the workers that have no host to wait for them."""
        for worker in self.workers.values():
            if worker.pipe is not None:
                worker.pipe.close()
        for worker in self.workers.values():
            if isinstance(worker.process, Child):
                worker.process.join(seconds)

    def _pipe(self, expert: str) -> Pipe[FromWorker]:
        pipe = self.workers[expert].pipe
        if pipe is None:
            raise RuntimeError(f"{expert} has no pipe")
        return pipe

    def _on_message(self, worker: Worker, message: FromWorker) -> None:
        listener = self._listener
        if listener is None:
            return
        match message:
            case Done():
                listener.on_done(worker.expert, message)
            case Piece():
                listener.on_piece(worker.expert, message)
            case Measured():
                self._on_measured(worker)
                listener.on_measured(worker.expert, message)
            case Failed():
                listener.on_failed(worker.expert, message)
            case Parked():
                listener.on_parked(worker.expert, message)
            case Resumed():
                listener.on_resumed(worker.expert, message)
            case WorkerReady():
                self._on_ready(worker, message, listener)
            case LoadFailed():
                worker.failure = message.reason

    def _on_ready(self, worker: Worker, ready: WorkerReady, listener: Listener) -> None:
        """Tell that an expert is loaded, then see what its process shares with others."""
        worker.ready = ready
        self._step_up(worker)
        if ready.measured:
            held = self.held(ready.pss_bytes, ready.own_bytes)
            self.watch.know(worker.expert, ready.pid, held)
        listener.on_worker_ready(worker.expert, ready)
        if isinstance(worker.process, Forked) and self._hosts is not None:
            self._hosts.weigh(worker.process)

    def _on_measured(self, worker: Worker) -> None:
        """See, once, whether a worker is in its control group: it is by the time it is measured."""
        if worker.ready is not None and not worker.checked:
            worker.checked = True
            self.groups.check(worker.expert, worker.ready.pid)

    def _gone(self, worker: Worker, how: str) -> None:
        """The process is gone: clear up, and tell why."""
        worker.stands_back = False  # its number may soon be another process's
        if worker.pipe is not None:
            worker.pipe.drain()
            worker.pipe.close()
        ending = Ending()
        if self.workers.get(worker.expert) is worker:
            del self.workers[worker.expert]
            ending = self.groups.close(worker.expert)
        if self._listener is not None:
            reason = worker.failure or explain(ending) or how
            self._listener.on_worker_exited(
                worker.expert, reason, ending.limit_bytes if ending.over_limit else 0
            )


def explain(ending: Ending) -> str:
    """Say why the kernel ended a worker, if it did for want of memory."""
    if ending.over_limit:
        limit = ending.limit_bytes >> 20
        return f"went over its own limit of {limit} MiB and was ended by the kernel"
    if ending.out_of_memory:
        return "was ended by the kernel: memory ran out, though not by this expert's own limit"
    return ""


def _in_memory(payload: bytes | memoryview) -> int:
    """Return a descriptor of a memory file that holds the payload."""
    handle = os.memfd_create("aiosd-payload", os.MFD_CLOEXEC)
    rest = memoryview(payload)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        os.close(handle)
        raise
    return handle
