"""What ZeroMQ alone costs: a broker and a worker that pass bytes on and know nothing of them.

`python -m tools.bench.relay broker FRONT BACK` and `… worker BACK BYTES MS`: each a process, as
the daemon and its worker are. The broker waits in libzmq's own poller, the worker in a receive.
"""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq


class Relay:
    """Broker and worker as two processes; `address` is where clients connect."""

    def __init__(self, folder: Path, reply_bytes: int, busy_ms: float = 0.0) -> None:
        """Start both; the worker computes for `busy_ms`, then answers `reply_bytes` bytes."""
        folder.mkdir()
        self.address = f"ipc://{folder / 'front.sock'}"
        back = f"ipc://{folder / 'back.sock'}"
        me = [sys.executable, "-m", "tools.bench.relay"]
        self._processes = [
            subprocess.Popen([*me, "broker", self.address, back]),
            subprocess.Popen([*me, "worker", back, str(reply_bytes), str(busy_ms)]),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def broker(front: str, back: str) -> None:
    """Pass messages on between clients and one worker, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    clients, workers = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.bind(front)
    workers.bind(back)
    poller = zmq.Poller()
    poller.register(clients, zmq.POLLIN)
    poller.register(workers, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            if socket is clients:
                workers.send_multipart(clients.recv_multipart())
            else:
                clients.send_multipart(workers.recv_multipart())


def worker(back: str, reply_bytes: int, busy_ms: float) -> None:
    """Answer every message with as many bytes, after as many milliseconds, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(back)
    reply = bytes(reply_bytes)
    while True:
        client, request, *_ = socket.recv_multipart()
        until = time.perf_counter() + busy_ms / 1e3
        while busy_ms and time.perf_counter() < until:
            pass
        socket.send_multipart([client, request, reply])


if __name__ == "__main__":
    if sys.argv[1] == "broker":
        broker(sys.argv[2], sys.argv[3])
    else:
        worker(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
