"""How long a client waits for what, and when it gives up: one rule for both clients; no clock."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from aiosd.client.address import is_listening, unreachable
from aiosd.domain.errors import DeadlineError, InvalidError, UnreachableError
from aiosd.protocol.codec import decode_answer
from aiosd.protocol.messages import Answer, Chunk, error_message


@dataclass(frozen=True)
class Patience:
    """Seconds and counts after which a client stops to wait.

    `silence` is the longest time without any answer to a request; each chunk starts it anew.
    `connect` is the time for the first connection, `restart` the time that a daemon gets which
    was there before, or whose socket systemd holds open while it starts. A `heartbeat` is sent
    when the daemon said nothing for that long; after three without an answer it counts as hung.
    `resends` says how often a request that a restart lost is sent again. `cancel` is the time in
    which a cancelled request should confirm.
    """

    silence: float = 120.0
    connect: float = 1.0
    restart: float = 15.0
    heartbeat: float = 5.0
    resends: int = 3
    cancel: float = 0.5


def arrival(path: Path, patience: Patience, waited: float, *, ever_up: bool) -> float:
    """Return how long to wait for the daemon in all, given that `waited` seconds have passed.

    Raises:
        UnreachableError: that long has passed.
    """
    if ever_up or (waited >= patience.connect and is_listening(path)):
        allowed = patience.restart
    else:
        allowed = patience.connect
    if waited >= allowed:
        raise unreachable(path, allowed)
    return allowed


MISSED_BEATS = 3
# How much later than the daemon's own deadline the client gives up, so that its error wins.
DEADLINE_GRACE_SECONDS = 5.0


class Beat(StrEnum):
    """What a connection should do now."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class Pulse:
    """Tells a daemon that is busy from one that hangs, by pings while requests are open."""

    def __init__(self, every: float) -> None:
        """Ask for a ping after `every` seconds of silence."""
        self._every = every
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._unanswered_since: float | None = None

    def heard(self, now: float) -> None:
        """Take note that the daemon lives (or that nothing was expected of it until now)."""
        self._heard_at = now
        self._pinged_at = self._unanswered_since = None

    def beat(self, now: float) -> Beat:
        """Return what to do now; PING is returned once per interval."""
        since = self._unanswered_since
        if since is not None and now - since >= MISSED_BEATS * self._every:
            return Beat.DEAD
        if now < self._next_at:
            return Beat.WAIT
        self._pinged_at = now
        if since is None:
            self._unanswered_since = now
        return Beat.PING

    def wait(self, now: float) -> float:
        """Return the seconds until `beat` may say something new."""
        return max(0.0, self._next_at - now)

    @property
    def _next_at(self) -> float:
        last = self._heard_at if self._pinged_at is None else self._pinged_at
        return last + self._every


@dataclass
class Pending:
    """A request in flight: its frames after the id, and what came back so far."""

    frames: list[bytes]
    limit_seconds: float
    id: bytes = b""
    losses: int = 0
    resends: int = 0
    chunks: int = 0
    asked_at: float = 0.0
    done: bool = False
    answers: deque[Answer] = field(default_factory=deque)

    def take(self, header: bytes, now: float) -> None:
        """Keep what the daemon said to this request; what is no message ends it as `invalid`."""
        answer: Answer
        try:
            answer = decode_answer(header)
        except InvalidError as error:
            answer = error_message(error)
        self.answers.append(answer)
        self.asked_at = now
        if isinstance(answer, Chunk):
            self.chunks += 1
        else:
            self.done = True

    def wait(self, now: float) -> float:
        """Return the seconds until this request has waited too long."""
        return max(0.0, self.asked_at + self.limit_seconds - now)

    def check(self, now: float) -> None:
        """Give up if the request has waited too long.

        Raises:
            DeadlineError: nothing came for `limit_seconds`.
        """
        if self.wait(now) > 0:
            return
        raise DeadlineError(
            f"no answer within the client's limit of {self.limit_seconds:g} s; the request was "
            "cancelled; give it more with timeout_seconds, or a deadline",
            stage="client",
            limit_seconds=self.limit_seconds,
        )

    def again(self, patience: Patience, path: Path) -> None:
        """Count one more sending of a request that a restart of the daemon lost.

        Raises:
            UnreachableError: it was sent often enough, or part of its answer was already given
                out, which a second run might contradict.
        """
        if self.chunks:
            raise UnreachableError(
                f"the daemon at {path} went away after {self.chunks} pieces of this answer; "
                "send the request again",
                socket=str(path),
                reason="restarted",
                chunks=self.chunks,
            )
        self.resends += 1
        if self.resends > patience.resends:
            hint = " (is an attachment over its limit, wire.max_attachment?)"
            raise unreachable(
                path,
                patience.restart,
                f"it went away {self.resends} times while this request was running"
                f"{hint if len(self.frames) > 1 else ''}",
            )
