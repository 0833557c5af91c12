"""The engine hosts: one per engine, started when first needed, forking that engine's workers."""

import asyncio
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from aiosd.daemon.workers.child import Child, Orphan, describe
from aiosd.daemon.workers.pipe import Pipe
from aiosd.protocol.pipe import (
    Exited,
    FromHost,
    HostFailed,
    HostReady,
    Spawn,
    Spawned,
    Weigh,
    Weighed,
)

log = logging.getLogger(__name__)


@dataclass
class Forked:
    """A worker that a host forked, as far as its process goes."""

    on_exit: Callable[[str], None]
    pid: int | None = None
    handle: int | None = None
    kill_wanted: bool = False


@dataclass
class Host:
    """One engine host: its process, its pipe, what it said of itself, and its workers."""

    engine: str
    child: Child | None = None
    pipe: Pipe[FromHost] | None = None
    ready: HostReady | None = None
    failure: str = ""
    workers: dict[int, Forked] = field(default_factory=dict)


class Hosts:
    """All engine hosts of this daemon."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
        on_news: Callable[[str, dict[str, object]], None],
        on_held: Callable[[str, int], None],
        on_common: Callable[[str, int, int], None] = lambda _engine, _bytes, _workers: None,
    ) -> None:
        """Start none yet.

        `on_news` takes a topic and facts for the events socket; `on_held` an engine and the bytes
        that its host holds alone, `on_common` those that it holds in common with its workers, and
        how many those are.
        """
        self._loop = loop
        self._environment = environment
        self._on_news = on_news
        self._on_held = on_held
        self._on_common = on_common
        self._tokens = itertools.count(1)
        self.hosts: dict[str, Host] = {}

    def start(self, engine: str) -> Host:
        """Return the running host of an engine, starting it if there is none.

        Raises:
            OSError: the process cannot be started.
        """
        host = self.hosts.get(engine)
        if host is not None:
            return host
        host = Host(engine)
        host.child = Child(
            self._loop,
            ["--host", engine],
            self._environment,
            lambda how: self._on_host_exit(host, how),
        )
        host.pipe = Pipe(
            self._loop,
            host.child.end,
            msgspec.msgpack.Decoder(FromHost),
            lambda message: self._on_message(host, message),
            lambda reason: self._on_broken(host, reason),
        )
        self.hosts[engine] = host
        return host

    def fork(self, engine: str, end: socket.socket, on_exit: Callable[[str], None]) -> Forked:
        """Have a worker forked on the far end of a new pipe, which is handed over.

        Raises:
            OSError: the host cannot be started.
        """
        host = self.start(engine)
        token = next(self._tokens)
        forked = host.workers[token] = Forked(on_exit)
        if host.pipe is not None:
            host.pipe.send(Spawn(token=token), end.detach())
        return forked

    def weigh(self, forked: Forked) -> None:
        """Have the host of a worker tell what all of its workers hold in common by now."""
        for host in self.hosts.values():
            if host.pipe is not None and any(each is forked for each in host.workers.values()):
                host.pipe.send(Weigh())

    def kill(self, forked: Forked) -> None:
        """End a worker now; a host that never got around to forking it hangs, and goes too."""
        forked.kill_wanted = True
        if forked.handle is not None:
            _kill(forked.handle)
            return
        for host in self.hosts.values():
            if host.child and any(each is forked for each in host.workers.values()):
                host.failure = host.failure or "its engine host hung"
                host.child.kill()

    def stop(self, seconds: float) -> None:
        """Close all pipes, upon which hosts and their workers end, and wait until they have."""
        for host in self.hosts.values():
            if host.pipe is not None:
                host.pipe.close()
        for host in self.hosts.values():
            if host.child is not None:
                host.child.join(seconds)

    def _on_message(self, host: Host, message: FromHost) -> None:
        match message:
            case HostReady():
                host.ready = message
                log.info("host %s ready: %s", host.engine, message.version)
                self._on_held(host.engine, message.pss_bytes)
                self._on_news("host.ready", {"engine": host.engine, "pid": message.pid})
            case HostFailed():
                host.failure = message.reason
                log.error("host %s: %s", host.engine, message.reason)
            case Spawned():
                self._on_spawned(host, message)
            case Exited():
                forked = host.workers.pop(message.token, None)
                if not host.workers:
                    self._on_common(host.engine, 0, 0)
                if forked is not None:
                    _release(forked)
                    forked.on_exit(describe(message.status, message.signal))
            case Weighed():
                if host.workers:
                    self._on_common(host.engine, message.common_bytes, len(host.workers))

    def _on_broken(self, host: Host, reason: str) -> None:
        """The pipe is gone: if not because the host is, it has lost its mind and must end."""
        if reason and host.child is not None:
            host.failure = host.failure or reason
            host.child.kill()

    def _on_spawned(self, host: Host, message: Spawned) -> None:
        """Get a handle on the worker that no other process can ever have."""
        forked = host.workers.get(message.token)
        if forked is None:
            return
        forked.pid = message.pid
        try:
            forked.handle = os.pidfd_open(message.pid)
        except ProcessLookupError:
            return  # gone already; the host will say so
        if forked.kill_wanted:
            _kill(forked.handle)

    def _on_host_exit(self, host: Host, how: str) -> None:
        """The host is gone; its workers live on until they end, those not yet forked fail."""
        self.hosts.pop(host.engine, None)
        if host.pipe is not None:
            host.pipe.drain()  # its last words: why it failed, who ended
            host.pipe.close()
        if host.ready or host.workers:
            log.warning("host %s %s", host.engine, how)
        self._on_held(host.engine, 0)
        self._on_common(host.engine, 0, 0)
        self._on_news("host.exited", {"engine": host.engine, "how": how})
        for forked in list(host.workers.values()):
            if forked.handle is None:
                forked.on_exit(host.failure or f"its engine host {how}")
            else:
                Orphan(self._loop, forked.handle, _orphan_exit(forked))


def _orphan_exit(forked: Forked) -> Callable[[str], None]:
    """Return what to do when an orphaned worker ends."""

    def ended(how: str) -> None:
        _release(forked)
        forked.on_exit(how)

    return ended


def _kill(handle: int) -> None:
    """Send SIGKILL by pidfd; a process that is gone already is fine."""
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("the worker was gone before it was killed")


def _release(forked: Forked) -> None:
    if forked.handle is not None:
        os.close(forked.handle)
        forked.handle = None
