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

from aiosd.daemon.child import Child
from aiosd.daemon.hosts import Forked, Hosts
from aiosd.daemon.pipe import Pipe
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

log = logging.getLogger(__name__)

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

    def on_worker_exited(self, expert: str, reason: str) -> None:
        """The worker's process is gone."""


@dataclass
class Worker:
    """One worker process."""

    expert: str
    release: int
    pipe: Pipe[FromWorker] | None = None
    process: Child | Forked | None = None
    ready: WorkerReady | None = None
    failure: str = ""


class Workers:
    """All workers of this daemon, one per loaded expert."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hosts: Hosts | None,
        environment: Mapping[str, str],
    ) -> None:
        """Fork workers from `hosts`, or start each as a process of its own where that is None."""
        self._loop = loop
        self._hosts = hosts
        self._environment = environment
        self._listener: Listener | None = None
        self._duty = 1.0
        self.workers: dict[str, Worker] = {}

    def pids(self) -> list[tuple[str, int]]:
        """Return the process of each loaded expert."""
        return [(name, worker.ready.pid) for name, worker in self.workers.items() if worker.ready]

    def held(self, pss: int, own: int) -> int:
        """Return what a worker counts in the books: see `Ledger`."""
        return pss if self._hosts is None else own

    def listen(self, listener: Listener) -> None:
        """Tell `listener` everything from now on."""
        self._listener = listener

    def start(self, expert: str, engine: str, order: LoadExpert) -> None:
        """Start a worker and have it load; `on_worker_ready` or `on_worker_exited` follows.

        Raises:
            OSError: no process or pipe can be made.
        """
        worker = Worker(expert, order.manifest.release)
        if self._hosts is None:
            parent = ["--parent", str(os.getpid())]
            child = Child(
                self._loop, parent, self._environment, lambda how: self._gone(worker, how)
            )
            worker.process, end = child, child.end
        else:
            end, far = socket.socketpair()
            with far:
                worker.process = self._hosts.fork(engine, far, lambda how: self._gone(worker, how))
        worker.pipe = Pipe(
            self._loop,
            end,
            msgspec.msgpack.Decoder(FromWorker),
            partial(self._on_message, worker),
            # Else its exit is what counts, and says more.
            lambda reason: self._end(worker, reason) if reason else None,
        )
        self.workers[expert] = worker
        worker.pipe.send(order)
        if self._duty < 1.0:
            worker.pipe.send(Pace(duty=self._duty))

    def run(self, expert: str, request: RunRequest, payload: bytes | memoryview | None) -> None:
        """Hand a request to the expert's worker.

        Raises:
            OSError: there is no memory for the payload.
        """
        pipe = self._pipe(expert)
        if payload is None:
            pipe.send(request)  # the usual case
        elif len(payload) < INLINE_BYTES:
            pipe.send(msgspec.structs.replace(request, payload=bytes(payload)))
        else:
            sized = msgspec.structs.replace(request, descriptor_bytes=len(payload))
            pipe.send(sized, _in_memory(payload))

    def pace(self, duty: float) -> None:
        """Let every worker, also those still to come, work for this share of the time only."""
        if duty == self._duty:
            return
        self._duty = duty
        for worker in self.workers.values():
            if worker.pipe is not None:
                worker.pipe.send(Pace(duty=duty))

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
                listener.on_measured(worker.expert, message)
            case Failed():
                listener.on_failed(worker.expert, message)
            case Parked():
                listener.on_parked(worker.expert, message)
            case Resumed():
                listener.on_resumed(worker.expert, message)
            case WorkerReady():
                worker.ready = message
                listener.on_worker_ready(worker.expert, message)
            case LoadFailed():
                worker.failure = message.reason

    def _gone(self, worker: Worker, how: str) -> None:
        """The process is gone: clear up, and tell why."""
        if worker.pipe is not None:
            worker.pipe.drain()
            worker.pipe.close()
        if self.workers.get(worker.expert) is worker:
            del self.workers[worker.expert]
        if self._listener is not None:
            self._listener.on_worker_exited(worker.expert, worker.failure or how)


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
