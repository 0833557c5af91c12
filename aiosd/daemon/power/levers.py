"""The daemon's end of `aiosd-powerd`: one order at a time, and every order has an end.

With `[power] helper = false` nothing here is opened. The connection itself is the lease: when it
ends, for whatever reason, the helper puts the board back as it was found.
"""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from aiosd.domain.errors import AiosdError, BusyError, InvalidError
from aiosd.policy.power.clock_rung import ClockRung
from aiosd.protocol.levers import (
    MOST_BYTES,
    Levers,
    Look,
    Order,
    Refused,
    SetClock,
    SetMode,
    pack,
    unpack_answer,
)

log = logging.getLogger(__name__)

# nvpmodel itself may take 20 s.
ANSWER_SECONDS = 25.0
# A helper that is not there is not looked for more often.
RETRY_SECONDS = 10.0

OnAnswer = Callable[[Levers | AiosdError], None]
_OFF = "the power helper is off; set helper = true in [power], and enable aiosd-powerd.socket"


class PowerHelper:
    """Asks the helper at `path`; the answer comes to a callback."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        """Connect with the first order."""
        self._loop, self._path = loop, path
        self._socket: socket.socket | None = None
        self._waiting: deque[tuple[Order, OnAnswer]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.enabled = False
        self.on_lost: Callable[[], None] = lambda: None

    def enable(self, *, wanted: bool) -> None:
        """Use the helper from now on, or let it go: then it puts everything back."""
        if self.enabled and not wanted:
            self._drop(InvalidError(_OFF, field="power.helper"))
        self.enabled = wanted

    def ask(self, order: Order, on_answer: OnAnswer) -> None:
        """Send an order; the answer, or why there is none, comes to `on_answer`."""
        if not self.enabled:
            on_answer(InvalidError(_OFF, field="power.helper"))
            return
        self._waiting.append((order, on_answer))
        if len(self._waiting) == 1:
            self._send()

    def close(self) -> None:
        """Let go of it; it puts everything back."""
        self._drop(BusyError("the daemon stops"))

    def _send(self) -> None:
        """Send the order at the head of the queue."""
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None  # noqa: S101 - for mypy
            self._socket.send(pack(self._waiting[0][0]))
        except OSError as error:
            why = f"aiosd-powerd does not answer at {self._path}: {error.strerror}"
            step = "systemctl enable --now aiosd-powerd.socket"
            self._drop(BusyError(f"{why}; {step}", retry_after_seconds=RETRY_SECONDS))
            return
        self._timer = self._loop.call_later(ANSWER_SECONDS, self._on_silence)

    def _connect(self) -> None:
        """Connect.

        Raises:
            OSError: nobody listens there.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            made.connect(str(self._path))
        except OSError:
            made.close()
            raise
        self._socket = made
        self._loop.add_reader(made.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        """Take an answer, or the end of the helper."""
        data = b""
        with contextlib.suppress(OSError):
            data = self._socket.recv(MOST_BYTES + 1) if self._socket is not None else b""
        if not data:
            self._drop(BusyError("aiosd-powerd has gone", retry_after_seconds=RETRY_SECONDS))
            return
        self._quiet()
        try:
            answer = unpack_answer(data)
        except ValueError as error:
            self._drop(BusyError(f"aiosd-powerd is of another release: {error}"))
            return
        if not self._waiting:
            return
        _, on_answer = self._waiting.popleft()
        on_answer(answer if isinstance(answer, Levers) else _refusal(answer))
        if self._waiting and self._timer is None:
            self._send()

    def _on_silence(self) -> None:
        """Give up on a helper that hangs."""
        self._timer = None
        why = f"aiosd-powerd said nothing for {ANSWER_SECONDS:g} s"
        self._drop(BusyError(why, retry_after_seconds=RETRY_SECONDS))

    def _quiet(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self, error: AiosdError) -> None:
        """Close the connection, and end every order with the reason."""
        self._quiet()
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self.on_lost()
        waiting, self._waiting = self._waiting, deque()
        for _, on_answer in waiting:
            on_answer(error)


def _refusal(refused: Refused) -> InvalidError:
    """Return what the helper refused as the operator hears it."""
    if refused.known:
        known = ", ".join(refused.known)
        return InvalidError(f"{refused.reason}; there are {known}", known=refused.known)
    return InvalidError(refused.reason)


class ClockKeeper:
    """What the clocks are held to: the operator's limits, and below them the ladder's rung.

    The rung is only climbed where the profile says that a slower clock saves energy.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, helper: PowerHelper) -> None:
        """Leave all clocks alone."""
        self._loop, self._helper = loop, helper
        self._rung = ClockRung()
        self._limits: dict[str, int] = {}
        self._not_before = 0.0
        self._told = False
        self.saves = False
        helper.on_lost = self._on_lost

    @property
    def share(self) -> float:
        """The share of the full clock that the power cap leaves."""
        return self._rung.share

    def on_duty(self, duty: float | None) -> None:
        """Take the ladder's duty, None without a cap, and move the clocks if a step is due."""
        before = self._rung.share
        if duty is None or not (self.saves and self._helper.enabled):
            self._rung.release()
        elif self._loop.time() >= self._not_before:
            self._rung.step(duty, self._loop.time())
        if self._rung.share != before:
            self._move()

    def limit(self, policy: str | None, khz: int, on_answer: OnAnswer) -> None:
        """Take the operator's limit of one policy, or of all; 0 ends it."""

        def on_levers(answer: Levers | AiosdError) -> None:
            if isinstance(answer, AiosdError):
                on_answer(answer)
                return
            if policy is not None:
                self._order(policy, khz, on_answer)
                return
            if not answer.policies:
                on_answer(InvalidError("this board has no cpufreq policy"))
            for number, each in enumerate(answer.policies, start=1):
                # Little cores go no faster for it: each to what it can.
                fitting = min(max(khz, each.min_khz), each.max_khz) if khz else 0
                last = number == len(answer.policies)
                self._order(each.name, fitting, on_answer if last else _ignore)

        self._helper.ask(Look(), on_levers)

    def _on_lost(self) -> None:
        """Forget what the helper held: it has put everything back."""
        self._limits = {}
        self._rung.release()

    def mode(self, name: str, on_answer: OnAnswer) -> None:
        """Take the operator's power mode."""
        self._helper.ask(SetMode(name=name), on_answer)

    def _order(self, policy: str, khz: int, on_answer: OnAnswer) -> None:
        """Set one policy's limit, and keep it as the ceiling if the helper takes it."""

        def on_set(answer: Levers | AiosdError) -> None:
            if isinstance(answer, Levers):
                self._limits[policy] = khz
                if not khz:
                    del self._limits[policy]
                if self._rung.share < 1.0:
                    self._move()
            on_answer(answer)

        self._helper.ask(SetClock(policy=policy, khz=khz), on_set)

    def _move(self) -> None:
        """Hold every clock to the rung, below the operator's limit."""

        def on_levers(answer: Levers | AiosdError) -> None:
            if isinstance(answer, AiosdError):
                if not self._told:
                    log.warning("the clocks stay as they are: %s", answer.message)
                self._told = True
                self._rung.release()
                self._not_before = self._loop.time() + RETRY_SECONDS
                return
            self._told = False
            share = self._rung.share
            for policy in answer.policies:
                top = self._limits.get(policy.name) or policy.found_khz
                khz = max(policy.min_khz, min(top, round(policy.max_khz * share)))
                wanted = khz if share < 1.0 else self._limits.get(policy.name, 0)
                self._helper.ask(SetClock(policy=policy.name, khz=wanted), _ignore)

        self._helper.ask(Look(), on_levers)


def _ignore(answer: Levers | AiosdError) -> None:
    """Take an answer that nobody waits for; what was refused is logged."""
    if isinstance(answer, AiosdError):
        log.warning("a clock stays as it is: %s", answer.message)
