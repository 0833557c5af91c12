"""One release on its way through the daemon, step by step, each written down before it is taken."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiosd.daemon.releases.probe import Probe, UnworthyError
from aiosd.daemon.releases.release_desk import ReleaseDesk
from aiosd.daemon.releases.swap import Swap
from aiosd.domain.errors import PackageError
from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import (
    Answered,
    Checked,
    Collected,
    Diverted,
    DoActivate,
    DoDiscard,
    DoProbe,
    DoReturn,
    Drained,
    Effect,
    Event,
    Expired,
    Failed,
    Fault,
    Lived,
    Probed,
    Probing,
)
from aiosd.policy.rollout.rules import RETRY_SECONDS, TRIAL_SECONDS, Rules
from aiosd.policy.rollout.table import advance, seconds_left
from aiosd.store import garbage

log = logging.getLogger(__name__)


class Journey:
    """Drives one release; also the `Watcher` of the requests to its expert."""

    def __init__(
        self, row: Rollout, desk: ReleaseDesk, probe: Probe, swap: Swap, rules: Callable[[], Rules]
    ) -> None:
        """Go nowhere yet."""
        self.row = row
        self._desk = desk
        self._probe = probe
        self._swap = swap
        self._rules = rules
        self._news: asyncio.Queue[Event] = asyncio.Queue()
        self._waited = 0.0
        self._deadline: tuple[float, float | None] | None = None
        self.slow_seconds: float | None = None
        self.on_state: Callable[[Rollout], None] = lambda _row: None
        self.trial_seconds = TRIAL_SECONDS

    # ── what the broker tells ─────────────────────────────────────────────────────────────────

    def on_answer(self, *, detoured: bool, run_seconds: float, waited_seconds: float) -> None:
        """Count an answer, and what it had to wait for."""
        self._waited = max(self._waited, waited_seconds)
        if detoured and self.row.state is State.CANARY:
            slow = self.slow_seconds is not None and run_seconds > self.slow_seconds
            self._news.put_nowait(Answered(good=True, slow=slow))

    def on_failure(self, reason: str) -> None:
        """Count a request that the release failed to answer and the old one did not."""
        log.warning("%s release %d: %s", self.row.name, self.row.release, reason)
        self.tell(Answered(good=False))

    def tell(self, event: Event) -> None:
        """Let the journey know of something, when it next looks."""
        self._news.put_nowait(event)

    # ── the way ───────────────────────────────────────────────────────────────────────────────

    async def go(self, effects: list[Effect]) -> None:
        """Go on until nothing more is to be done.

        Raises:
            LedgerError: what was done cannot be written down; nothing goes on then.
        """
        event: Event | None
        while True:
            try:
                async with asyncio.timeout_at(self._until()):
                    event = await self._step(effects)
            except TimeoutError:
                event = Expired(self._probe.lacking(self.row))
            except UnworthyError as error:
                event = error.failed
            except (OSError, PackageError) as error:
                event = Failed(str(error), Fault.WORLD)
            if event is None:
                return
            effects = await self.note(event)

    def _until(self) -> float | None:
        """Return when the state must have ended, by the loop's clock, which never leaps."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None or self._deadline[0] != self.row.deadline:
            left = seconds_left(self.row, time.time(), self._rules())
            self._deadline = (self.row.deadline, now + left if left is not None else None)
        return self._deadline[1]

    async def note(self, event: Event) -> list[Effect]:
        """Write down what an event makes of the row; return what is to be done.

        Raises:
            LedgerError: it cannot be written.
            TransitionError: as `advance`.
        """
        before = self.row
        row, effects = advance(before, event, time.time(), self._rules())
        counts_only = isinstance(event, Answered) and row.state is before.state
        if row != before and not counts_only:
            await self._desk.put(row)
        self.row = row
        if (row.state, row.reason) != (before.state, before.reason):
            log.info("%s release %d: %s %s", row.name, row.release, row.state, row.reason)
            self.on_state(row)
        return effects

    async def _step(self, effects: list[Effect]) -> Event | None:
        """Do what the state and the effects ask for; return what came of it, None at the end."""
        row = self.row
        for effect in effects:
            if isinstance(effect, DoReturn):
                await self._swap.give_back(row)
            elif isinstance(effect, DoDiscard):
                await self._discard(effect.release)
        match row.state:
            case State.STAGED:
                return await self._staged(effects)
            case State.PROBED:
                return await self._probed()
            case State.CANARY:
                return await self._canary()
            case State.COMMITTED | State.DRAINED | State.COLLECTED:
                return await self._committed(effects)
            case _:
                return None

    async def _staged(self, effects: list[Effect]) -> Event:
        """Wait for the next try, or probe."""
        if not self.row.trying:
            for effect in effects:
                if isinstance(effect, DoProbe):
                    await asyncio.sleep(effect.after_seconds)
            return Probing()
        self._waited = 0.0
        return Probed(await self._probe.take_in(self.row))

    async def _probed(self) -> Event:
        """Begin the canary, if there is one who served before and the owner wants one."""
        if self.row.old_release and self._rules().canary_requests:
            self._swap.divert(self.row)
            return Diverted()
        return await self._check()

    async def _canary(self) -> Event:
        """Wait for answers, or run the self-tests a last time."""
        if self.row.checking:
            return await self._check()
        return await self._news.get()

    async def _check(self) -> Event:
        await self._probe.check(self.row)
        return Checked()

    async def _committed(self, effects: list[Effect]) -> Event | None:
        """Swap, collect, and see whether the daemon lives with it."""
        row = self.row
        if row.reason:  # the disk said no: not at once again
            await asyncio.sleep(RETRY_SECONDS)
        if row.state is State.COMMITTED:
            force = any(isinstance(each, DoActivate) and each.force for each in effects)
            held = await self._swap.commit(row, force=force)
            return Drained(max(held, self._waited))
        if row.state is State.DRAINED:
            await self._desk.do(lambda: collect(self._desk))
            return Collected()
        return await self._trial() if row.trial else None

    async def _trial(self) -> Event:
        """Wait until the trial is over, or something happens in it."""
        try:
            async with asyncio.timeout(self.trial_seconds):
                while True:
                    event = await self._news.get()
                    if isinstance(event, Failed):
                        return event
        except TimeoutError:
            return Lived()

    async def _discard(self, release: int) -> None:
        """Take a release off the disk that will not be used; it may also be there for ever."""
        releases, name = self._desk.releases, self.row.name
        try:
            await self._desk.do(lambda: releases.forget(name, release))
        except (OSError, PackageError) as error:
            log.warning("%s release %d stays on the disk: %s", name, release, error)


def collect(desk: ReleaseDesk) -> None:
    """Take off the disk what is neither active, nor the way back, nor on its way; blocking.

    Raises:
        OSError: the disk says no.
        PackageError: an update is at work just now.
    """
    keep = set()
    for row in desk.ledger.rows():
        keep.add((row.name, row.old_release))
        if not row.ended:
            keep.add((row.name, row.release))
    garbage.collect(desk.releases, now=time.time(), budget_bytes=desk.budget_bytes, keep=keep)
