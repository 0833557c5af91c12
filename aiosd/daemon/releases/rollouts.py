"""The releases on their way through this daemon, and the operator's verbs about them.

Imported when there is a ledger, or when the first verb comes: a board without updates does without.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine

import msgspec

from aiosd.daemon.broker import Broker
from aiosd.daemon.inventory import Inventory
from aiosd.daemon.releases.journey import Journey
from aiosd.daemon.releases.probe import Board, Probe
from aiosd.daemon.releases.release_desk import ReleaseDesk
from aiosd.daemon.releases.resumption import resume, tidy
from aiosd.daemon.releases.swap import Swap
from aiosd.daemon.settings import Rollout as Settings
from aiosd.daemon.wire.events import Events
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    ExpertFailedError,
    InvalidError,
    PackageError,
)
from aiosd.domain.expert import TransitionError
from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import (
    Cancelled,
    Effect,
    Event,
    Failed,
    Held,
    Resumed,
    RolledBack,
    Stopped,
)
from aiosd.policy.rollout.rules import BEFORE_COMMIT, LIMITS, Rules
from aiosd.policy.rollout.table import advance
from aiosd.protocol.messages import (
    CancelRelease,
    History,
    Hold,
    ReleaseVerb,
    Reply,
    Rollback,
    Staged,
    error_message,
)
from aiosd.protocol.messages import (
    Rollouts as ListVerb,
)
from aiosd.store.layout import Layout
from aiosd.store.ledger import LedgerError

__all__ = ["Board", "Rollouts", "make_rollouts"]

log = logging.getLogger(__name__)

Body = dict[str, object]


class Rollouts:
    """One journey at most for each expert; the ledger is the truth, this only drives."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        events: Events,
        desk: ReleaseDesk,
        parts: tuple[Probe, Swap],
    ) -> None:
        """Drive nothing yet."""
        self._loop = loop
        self._broker = broker
        self._events = events
        self.desk = desk
        self._probe, self.swap = parts
        self._journeys: dict[str, Journey] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: set[asyncio.Task[None]] = set()
        self._begun: list[tuple[Journey, list[Effect]]] = []
        self._group: asyncio.TaskGroup | None = None
        self.settings = Settings()
        self._probe.holding.seconds = lambda: self.settings.hold_seconds
        broker.on_rest = self._on_rest

    # ── start and stop ────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Go on where the last daemon ended, before packages are read; blocking.

        A release that is to be taken back is, so that it is not loaded once more.
        """
        releases = self.desk.releases
        try:
            begun = resume(self.desk.ledger, releases, time.time(), self.rules())
            tidy(releases)
        except (LedgerError, OSError) as error:
            log.error("releases stay as they are: %s", error)  # noqa: TRY400
            return
        self._begun = [(self._journey(row), effects) for row, effects in begun]

    def start(self, group: asyncio.TaskGroup) -> None:
        """Drive what was begun, from now on in tasks of this group."""
        if self._group is not None:
            return
        self._group = group
        for journey, effects in self._begun:
            self._drive(journey, effects)
        self._begun.clear()

    async def close(self) -> None:
        """Note that everything was ended in peace, and let go of the ledger."""
        for task in (*self._tasks.values(), *self._asked):
            task.cancel()
        for journey in self._journeys.values():
            try:
                await journey.note(Stopped())
            except LedgerError as error:
                log.warning("%s", error)
        self.desk.close()

    def rules(self) -> Rules:
        """Return what the owner says of tries and canaries."""
        ours = self.settings
        return Rules(
            canary_requests=ours.canary_requests,
            canary_failures=ours.canary_failures,
            probe_seconds=ours.probe_seconds,
            limits={**LIMITS, State.CANARY: ours.canary_seconds},
        )

    # ── verbs ─────────────────────────────────────────────────────────────────────────────────

    def on_verb(self, client: Client, request: bytes, verb: ReleaseVerb) -> None:
        """Take a verb; the answer follows.

        Raises:
            BusyError: the daemon is starting.
        """
        if self._group is None:
            raise BusyError("the daemon is starting", retry_after_seconds=1.0)
        task = self._group.create_task(self._answer(client, request, verb))
        self._asked.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        self._rest()

    async def _answer(self, client: Client, request: bytes, verb: ReleaseVerb) -> None:
        """Do what a verb says, and tell how that went."""
        try:
            answer = Reply(body=await self._act(verb))
        except AiosdError as error:
            client.frontend.send(client, request, error_message(error))
        except (LedgerError, OSError, PackageError) as error:
            told = ExpertFailedError(f"the release store: {error}", reason=str(error))
            client.frontend.send(client, request, error_message(told))
        else:
            client.frontend.send(client, request, answer)

    def _act(self, verb: ReleaseVerb) -> Coroutine[None, None, Body]:
        match verb:
            case Staged():
                return self._on_staged(verb.expert, verb.release)
            case Rollback():
                return self._on_rollback(verb.expert)
            case CancelRelease():
                return self._on_cancel(verb.expert)
            case Hold():
                return self._on_hold(verb.expert, on=verb.on)
            case History():
                return self._history(verb.expert)
            case ListVerb():
                return self._list()

    async def _on_staged(self, name: str, release: int) -> Body:
        """Begin with a release that the ledger says is staged."""
        row = await self.desk.do(lambda: self.desk.ledger.row(name))
        if row is None or row.release != release or row.state is not State.STAGED:
            how = f"its last is release {row.release}, {row.state}" if row else "it knows of none"
            raise InvalidError(
                f"the ledger has no staged release {release} of {name}: {how}", field="release"
            )
        journey, task = self._journeys.get(name), self._tasks.get(name)
        if journey is not None and task is not None:
            if journey.row.release == release:
                return _told(journey.row)
            task.cancel()  # the one before it was on trial still
            await asyncio.wait([task])
        row, effects = advance(row, Resumed(), time.time(), self.rules())
        self._drive(self._journey(row), effects)
        return _told(row)

    async def _on_rollback(self, name: str) -> Body:
        """Go back to the release before, and tell when that serves."""
        journey = await self._known(name)
        await self._check_floor(journey.row)
        try:
            task = await self._turn(journey, RolledBack("rolled back by the operator"))
        except TransitionError:
            row = journey.row
            raise InvalidError(
                f"{name} has no release to go back to: release {row.release} is {row.state}"
                + (f" ({row.reason})" if row.reason else ""),
                field="expert",
            ) from None
        if task is not None:
            await asyncio.wait([task])
        active = await self.desk.do(lambda: self.desk.releases.active(name))
        return {**_told(journey.row), "active": active}

    async def _check_floor(self, row: Rollout) -> None:
        """Refuse to go back to what the publisher has ruled out; a failing release may still.

        Raises:
            InvalidError: the release before is below the security floor of the present one.
        """
        published = await self.desk.do(lambda: self.desk.releases.release(row.name, row.release))
        floor = published.security_floor if published else 0
        if row.old_release and row.old_release < floor:
            raise InvalidError(
                f"release {row.release} of {row.name} says that none below {floor} is safe, and "
                f"{row.old_release} is what was there before; to install it all the same: "
                "aiosctl install --allow-older",
                field="expert",
            )

    async def _on_cancel(self, name: str) -> Body:
        """Give a release up."""
        journey = await self._known(name)
        row = journey.row
        if row.state not in (*BEFORE_COMMIT, State.HELD):
            raise InvalidError(
                f"release {row.release} of {name} is {row.state}: to go back say rollback",
                field="expert",
            )
        task = await self._turn(journey, Cancelled("cancelled by the operator"))
        if task is not None:
            await asyncio.wait([task])
        return _told(journey.row)

    async def _on_hold(self, name: str, *, on: bool) -> Body:
        """Hold an expert, or let it go on."""
        await self.desk.do(lambda: self.desk.ledger.hold(name, on=on))
        row = await self.desk.do(lambda: self.desk.ledger.row(name))
        if row is not None and not row.ended:
            journey = self._journeys.get(name) or self._journey(row)
            if row.state in (State.STAGED, State.PROBED, State.CANARY, State.HELD):
                await self._turn(journey, Held(on=on))
            row = journey.row
        return {"expert": name, "held": on, "state": row.state.value if row else None}

    async def _history(self, name: str | None) -> Body:
        """Return what the ledger remembers."""
        changes = await self.desk.do(lambda: self.desk.ledger.history(name))
        return {"history": [{**_told(each.row), "at": each.at} for each in changes]}

    async def _list(self) -> Body:
        """Return the present row of each expert; a canary's counts are newer than the ledger's."""
        rows = await self.desk.do(self.desk.ledger.rows)
        holds = await self.desk.do(self.desk.ledger.holds)
        live = {name: journey.row for name, journey in self._journeys.items()}
        return {"rollouts": [_told(live.get(row.name, row)) for row in rows], "holds": holds}

    # ── driving ───────────────────────────────────────────────────────────────────────────────

    def _journey(self, row: Rollout) -> Journey:
        """Return a journey that is known from now on."""
        journey = Journey(row, self.desk, self._probe, self.swap, self.rules)
        journey.on_state = self._tell
        self._journeys[row.name] = journey
        return journey

    async def _known(self, name: str) -> Journey:
        """Return the journey of an expert, which may have ended long ago.

        Raises:
            InvalidError: no release of that expert ever came by an update.
        """
        journey = self._journeys.get(name)
        if journey is not None:
            return journey
        row = await self.desk.do(lambda: self.desk.ledger.row(name))
        if row is None:
            raise InvalidError(f"no release of {name} came by an update", field="expert")
        return self._journey(row)

    async def _turn(self, journey: Journey, event: Event) -> asyncio.Task[None] | None:
        """Let something happen to a release that may be in the midst of a step.

        Raises:
            TransitionError: as `advance`; it goes on as before.
        """
        advance(journey.row, event, time.time(), self.rules())
        task = self._tasks.get(journey.row.name)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return self._drive(journey, await journey.note(event))

    def _drive(self, journey: Journey, effects: list[Effect]) -> asyncio.Task[None] | None:
        """Let a release go on by itself."""
        if self._group is None:
            return None
        name = journey.row.name
        self._broker.detours = self.swap.detours
        self.swap.detours.watchers[name] = journey
        times = self._broker.routing.times.p95(name)
        journey.slow_seconds = times * self.settings.slow_factor if times else None
        task = self._group.create_task(self._go(journey, effects))
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._ended(name, task))
        return task

    async def _go(self, journey: Journey, effects: list[Effect]) -> None:
        """Drive one release to its end; what cannot be written down stops it where it is."""
        try:
            await journey.go(effects)
        except LedgerError as error:
            row = journey.row
            log.error("%s release %d goes no further: %s", row.name, row.release, error)  # noqa: TRY400
            self._events.publish("release.stalled", {**_told(row), "reason": str(error)})

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """Let go of what a journey needed, so that requests cost nothing any more."""
        if self._tasks.get(name) is not task:
            return
        del self._tasks[name]
        self._probe.holding.end(name)
        self.swap.detours.watchers.pop(name, None)
        if not self._tasks and not self.swap.detours.seats:
            self._broker.detours = None
        self._rest()

    def _rest(self) -> None:
        """Where nobody asks and nothing goes on, need nothing."""
        if not self._tasks and not self._asked:
            self.desk.rest()

    def _on_rest(self, expert: str, reason: str) -> None:
        """An expert rests after failures: on trial, that is the new release's end."""
        journey = self._journeys.get(expert)
        if journey is not None and journey.row.trial:
            journey.tell(Failed(f"its worker failed: {reason}"))

    def _tell(self, row: Rollout) -> None:
        """Publish how far a release has come."""
        self._events.publish(f"release.{row.state.value}", _told(row))


def make_rollouts(
    loop: asyncio.AbstractEventLoop,
    broker: Broker,
    inventory: Inventory,
    events: Events,
    place: tuple[Layout, Board],
) -> Rollouts:
    """Put the parts together; `swap` still has to be told how the daemon learns of a release."""
    layout, board = place
    desk = ReleaseDesk(loop, layout)
    probe = Probe(loop, broker, inventory, desk, board)
    swap = Swap(loop, broker, inventory, desk, probe)
    return Rollouts(loop, broker, events, desk, (probe, swap))


def _told(row: Rollout) -> Body:
    """Return a row as verbs and events tell it."""
    return {
        "expert": row.name,
        "release": row.release,
        "old_release": row.old_release,
        "state": row.state.value,
        "since": row.since,
        "deadline": row.deadline or None,
        "attempts": row.attempts,
        "reason": row.reason,
        "canary": msgspec.to_builtins(row.canary),
        "report": msgspec.to_builtins(row.report) if row.report else None,
        "crashes": row.crashes,
        "trial": row.trial,
        "hold_ms": row.hold_seconds * 1e3,
        "cost": msgspec.to_builtins(row.cost),
    }
