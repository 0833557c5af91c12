"""Has the text head made when the packages change, by a process that ends; takes it up when done.

The head of some packages is always the same bytes, so it is looked for in the state folder first.
"""

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aiosd.daemon.workers.child import THREADS
from aiosd.policy.routing.head import Head, HeadError, decode_facts, decode_head
from aiosd.policy.routing.lessons import Lesson, key_of
from aiosd.policy.routing.weights import MOST_IN_LANES
from aiosd.store.heads import Errand, Heads, errand

log = logging.getLogger(__name__)


@dataclass
class _Job:
    """A fitter at work."""

    key: str
    errand: Errand
    process: subprocess.Popen[bytes]
    handle: int


class Fitting:
    """At most one fitter at a time, for the packages that are installed now."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        environment: Mapping[str, str],
        heads: Heads,
        on_head: Callable[[Head | None, bool], None],
    ) -> None:
        """Start nothing yet; `on_head` takes the head now valid, and whether another is made."""
        self._loop = loop
        self._environment = environment
        self._heads = heads
        self._on_head = on_head
        self._job: _Job | None = None
        self._key = ""
        self._head: Head | None = None

    def want(self, lessons: Iterable[Lesson]) -> None:
        """See to it that there is a head of these lessons; until then the old one serves."""
        taught = list(lessons)
        key = key_of(taught)
        if key == self._key:
            return
        self._key = key
        self._stop()
        if not key:
            self._take(None)
            return
        head = self._heads.read(key)
        if head is not None and head.facts.key == key:
            self._take(head)
            return
        self._start(key, taught)

    def close(self) -> None:
        """End a fitter that is at work."""
        self._stop()

    def _start(self, key: str, lessons: list[Lesson]) -> None:
        """Start a fitter."""
        pages = self._heads.pages() if len(lessons) >= MOST_IN_LANES else None
        job = errand(lessons) if pages is None else errand(lessons, pages)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                job.command,
                stdin=subprocess.DEVNULL,
                pass_fds=job.descriptors,
                env={**self._environment, **THREADS},
                start_new_session=True,
            )
        except OSError as error:
            job.take()
            log.error("text routing is off: the fitter cannot be started: %s", error)  # noqa: TRY400
            self._on_head(self._head, False)  # noqa: FBT003 - the one flag of a callback
            return
        handle = os.pidfd_open(process.pid)
        self._job = _Job(key, job, process, handle)
        self._loop.add_reader(handle, self._ended)
        self._on_head(self._head, True)  # noqa: FBT003

    def _ended(self) -> None:
        """Take up what the fitter made."""
        job = self._job
        if job is None:
            return
        status = self._collect(job)
        data = job.errand.take()
        self._job = None
        head = self._kept(job.key, data) if status == 0 else None
        if head is None:
            old = "the one before serves" if self._head else "texts are not routed"
            log.warning("no text head, the fitter ended with status %d: %s", status, old)
            self._on_head(self._head, False)  # noqa: FBT003
            return
        log.info(
            "text routing: %d routes, %.1f %% right of %d texts",
            len(head.facts.routes) - 1,
            head.facts.measures.accuracy * 100,
            head.facts.measures.texts,
        )
        self._take(head)

    def _kept(self, key: str, data: bytes) -> Head | None:
        """Return what the fitter made: from its file, where it can be kept, or of these bytes."""
        try:
            decode_facts(data)
            self._heads.keep(key, data)
            return self._heads.read(key) or decode_head(data)
        except HeadError as error:
            log.error("the fitter made no head: %s", error)  # noqa: TRY400
            return None

    def _take(self, head: Head | None) -> None:
        self._head = head
        self._on_head(head, False)  # noqa: FBT003

    def _stop(self) -> None:
        """End the fitter that is at work, if any: what it makes is not wanted any more."""
        job, self._job = self._job, None
        if job is not None:
            job.process.kill()
            self._collect(job)
            job.errand.take()

    def _collect(self, job: _Job) -> int:
        """Wait for a fitter that has ended, or was killed, and let go of it."""
        self._loop.remove_reader(job.handle)
        os.close(job.handle)
        return job.process.wait()
