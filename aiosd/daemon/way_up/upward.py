"""The way up, put together: who may go, where the process is, and the operator's switch.

Imported only once the owner's settings say `uplink.on = true`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from aiosd.daemon.asks import no_uplink
from aiosd.daemon.control import Control
from aiosd.daemon.inventory import Inventory
from aiosd.daemon.settings import Settings, user_ids
from aiosd.daemon.way_up.escalation import Escalation, Local
from aiosd.daemon.way_up.outbound import Bounds
from aiosd.daemon.way_up.uplink import Link, Where
from aiosd.daemon.wire.events import Events
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import AiosdError, BusyError, CancelledError
from aiosd.domain.request import Privacy
from aiosd.domain.uplink import Uplink as UplinkSettings
from aiosd.policy.outbound.escalation import EscalationRules
from aiosd.protocol.messages import Reply, Uplink, error_message
from aiosd.protocol.pipe import Failed, Piece
from aiosd.protocol.uplink import Answered, Look, Looked

log = logging.getLogger(__name__)

# How long an operator's look may take before it is answered without the uplink's own word.
LOOK_SECONDS = 5.0


class Upward:
    """Made once, when the uplink is first on; afterwards it may be put off and on again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        local: Local,
        control: Control,
        inventory: Inventory,
        events: Events,
    ) -> None:
        """Change nothing yet."""
        self._loop = loop
        self._local = local
        self._control = control
        self._inventory = inventory
        self._events = events
        self._settings: UplinkSettings | None = None
        self._link: Link | None = None
        self._off_file = Path()
        self._looks: dict[int, tuple[Callable[[dict[str, object]], None], asyncio.TimerHandle]] = {}
        self._escalation = Escalation(loop, local, self._is_local_only)
        self.drained = self._escalation.drained

    def apply(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        config: Path,
    ) -> None:
        """Do as the settings say; where they changed, what is up ends and may be sent again."""
        uplink = settings.uplink
        if uplink == self._settings:
            return
        self._settings = uplink
        self._let_go(BusyError("the uplink's settings changed", retry_after_seconds=1.0))
        if not uplink.on:
            self._control.asks, self._control.on_uplink = self._local, no_uplink
            return
        layout = settings.layout()
        self._off_file = layout.state / "uplink.off"
        where = Where(config, layout.sockets / "uplink.sock", environment, uplink.idle_seconds)
        self._link = Link(self._loop, where, self, self._events.publish)
        outbound, escalation = self._escalation.outbound, self._escalation
        outbound.bounds = Bounds(uplink.parallel, uplink.waiting, uplink.total_seconds)
        escalation.rules = EscalationRules(frozenset(uplink.allow), user_ids(uplink.users))
        outbound.link = None if self._off_file.exists() else self._link
        self._control.asks, self._control.on_uplink = escalation, self._on_verb
        if outbound.link is not None:
            # Keys and files are looked at now, not when the first request needs them.
            try:
                self._look(0, lambda _: None)
            except AiosdError as error:
                log.warning("uplink: %s", error)

    def on_stop(self) -> None:
        """Refuse what comes from now on; what is up may still end."""
        self._escalation.on_stop()

    def close(self, seconds: float) -> None:
        """End what is up: the time to drain is over; wait so long for the process."""
        error = CancelledError("the daemon is stopping", retry_after_seconds=2.0)
        self._escalation.outbound.give_up(error)
        if self._link is not None:
            self._link.close(seconds)

    def _let_go(self, error: AiosdError) -> None:
        """End what is up, and the process."""
        outbound = self._escalation.outbound
        outbound.link = None
        outbound.give_up(error)
        if self._link is not None:
            self._link.close()
        self._drop_looks("the process ended")

    # ── who asks, and for what ────────────────────────────────────────────────────────────────

    def _is_local_only(self, expert: str) -> bool:
        """Tell whether a package forbids that its requests leave the board."""
        installed = self._inventory.catalogue.experts.get(expert)
        return installed is None or installed.manifest.privacy is not Privacy.UPLINK

    # ── the operator ──────────────────────────────────────────────────────────────────────────

    def _on_verb(self, client: Client, request: bytes, verb: Uplink) -> None:
        """Carry out `aiosctl uplink`."""

        def answer(body: dict[str, object]) -> None:
            client.frontend.send(client, request, Reply(body=body))

        if verb.action in {"on", "off"}:
            answer(self._switch(on=verb.action == "on"))
            return
        try:
            if verb.action == "log":
                self._look(verb.lines, answer)
            elif self._escalation.outbound.link is None:
                answer(self._status({}))
            else:
                self._look(0, lambda body: answer(self._status(body)))
        except AiosdError as error:
            if verb.action == "log":
                client.frontend.send(client, request, error_message(error))
            else:
                answer(self._status({"why": error.message}))

    def _switch(self, *, on: bool) -> dict[str, object]:
        """Put the way up on or off, until told otherwise: a file remembers it."""
        outbound = self._escalation.outbound
        lasting = True
        try:
            if on:
                self._off_file.unlink(missing_ok=True)
            else:
                self._off_file.touch(mode=0o600)
        except OSError as error:
            log.warning("whether the uplink is on is not remembered: %s", error)
            lasting = False
        if on:
            outbound.link = self._link
        else:
            self._let_go(CancelledError("the uplink was switched off"))
        log.info("uplink switched %s", "on" if on else "off")
        self._events.publish("uplink.switched", {"on": on})
        return {"on": on, "lasting": lasting}

    def _status(self, body: dict[str, object]) -> dict[str, object]:
        """Return how the way up stands, with what the uplink's own process says."""
        outbound, rules = self._escalation.outbound, self._escalation.rules
        on = outbound.link is not None
        own: dict[str, object] = {
            "on": on,
            "why": "" if on else "switched off by an operator: aiosctl uplink on",
            "allow": sorted(rules.allow),
            "users": "*" if rules.users is None else sorted(rules.users),
            "up": outbound.count,
            "waiting": outbound.queued,
            "answered": outbound.answered,
            "failed": outbound.failed,
            "process": self._link.status() if self._link else {},
        }
        return own | body

    def _look(self, lines: int, answer: Callable[[dict[str, object]], None]) -> None:
        """Ask the process, and answer with what it says; starts it if need be.

        Raises:
            NoRouteError: it cannot be started now.
        """
        if self._link is None:
            return
        number = self._escalation.outbound.next_number()
        self._link.send(Look(id=number, lines=lines))
        timer = self._loop.call_later(LOOK_SECONDS, self._give_up_look, number)
        self._looks[number] = (answer, timer)

    def _give_up_look(self, number: int) -> None:
        """The process says nothing: answer without it."""
        found = self._looks.pop(number, None)
        if found is not None:
            found[0]({"why": f"the uplink's process says nothing for {LOOK_SECONDS:g} s"})

    def _drop_looks(self, why: str) -> None:
        """The process is gone: answer without it."""
        looks, self._looks = self._looks, {}
        for answer, timer in looks.values():
            timer.cancel()
            answer({"why": f"the uplink's process: {why}"})

    # ── the link (its `Listener`) ─────────────────────────────────────────────────────────────

    def on_piece(self, piece: Piece) -> None:
        """A piece of streamed text."""
        self._escalation.outbound.on_piece(piece)

    def on_answered(self, answered: Answered) -> None:
        """A request was answered."""
        self._escalation.outbound.on_answered(answered)

    def on_failed(self, failed: Failed) -> None:
        """A request could not be answered."""
        self._escalation.outbound.on_failed(failed)

    def on_looked(self, looked: Looked) -> None:
        """What was asked to be seen."""
        found = self._looks.pop(looked.id, None)
        if found is not None:
            found[1].cancel()
            found[0](looked.body)

    def on_lost(self, reason: str) -> None:
        """The process is gone, and all that it had to do with it."""
        self._drop_looks(reason)
        self._escalation.outbound.on_lost(reason)
