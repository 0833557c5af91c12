"""The verbs that are not `run`: looking for everybody, loading and the like for operators only."""

import asyncio
import os
from collections.abc import Callable

import msgspec

from aiosd import __version__
from aiosd.daemon.asks import Asks, no_releases, no_uplink
from aiosd.daemon.broker import Broker
from aiosd.daemon.inventory import Change, Inventory
from aiosd.daemon.power.levers import ClockKeeper, PowerHelper
from aiosd.daemon.views import Views
from aiosd.daemon.wire.frontend import Client
from aiosd.domain.errors import (
    AiosdError,
    ConfigError,
    ForbiddenError,
    InvalidError,
    UnknownExpertError,
)
from aiosd.protocol.codec import Envelope
from aiosd.protocol.levers import Levers, Look
from aiosd.protocol.messages import (
    ADMIN_ONLY,
    VERSION,
    Cancel,
    CancelRelease,
    Decisions,
    Energy,
    Explain,
    Feedback,
    History,
    Hold,
    List,
    Load,
    Pin,
    Ping,
    Power,
    Ps,
    ReleaseVerb,
    Reload,
    Reply,
    Rollback,
    Rollouts,
    Run,
    Show,
    Staged,
    Status,
    Unload,
    Uplink,
    error_message,
)

ADMIN = "admin"


class Control:
    """Takes every message from both frontends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        views: Views,
    ) -> None:
        """Look into these; `on_reload` is set by the daemon before it listens."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self.views = views
        self.asks: Asks = broker
        self.on_uplink: Callable[[Client, bytes, Uplink], None] = no_uplink
        self.helper: PowerHelper | None = None
        self.clocks: ClockKeeper | None = None
        self.on_releases: Callable[[Client, bytes, ReleaseVerb], None] = no_releases
        self.on_reload: Callable[[], Change] = lambda: Change([], [], [])

    def on_message(self, client: Client, envelope: Envelope) -> None:
        """Take one message.

        Raises:
            AiosdError: it is refused; the frontend answers with it.
        """
        verb = envelope.verb
        if isinstance(verb, Run):
            try:
                self.asks.on_run(client, envelope, verb)
            except UnknownExpertError:
                self._inventory.explain(verb.expert or "")
                raise
            return
        if isinstance(verb, ADMIN_ONLY) and client.frontend.name != ADMIN:
            raise ForbiddenError("this verb is for the admin socket", socket="admin.sock")
        match verb:
            case Cancel():
                self.asks.on_cancel(client, envelope.id)
            case Uplink():
                self.on_uplink(client, envelope.id, verb)
            case Load(expert=name) | Unload(expert=name) | Pin(expert=name):
                self._inventory.find(name)
                self._operate(client, envelope.id, verb)
            case Explain() | Feedback() | Decisions():
                body = self._broker.routing.answer(verb)
                client.frontend.send(client, envelope.id, Reply(body=body))
            case Power():
                self._turn(client, envelope.id, verb)
            case Staged() | Rollback() | CancelRelease() | Hold() | History() | Rollouts():
                self.on_releases(client, envelope.id, verb)
            case _:
                client.frontend.send(client, envelope.id, Reply(body=self._look(verb)))

    def on_gone(self, client: Client) -> None:
        """Stop everything that a client wanted who cannot be reached any more."""
        self.asks.on_gone(client)

    def _turn(self, client: Client, request: bytes, verb: Power) -> None:
        """Look at clocks and modes, or set one; answered when the helper has answered."""

        def on_answer(answer: Levers | AiosdError) -> None:
            if isinstance(answer, AiosdError):
                client.frontend.send(client, request, error_message(answer))
            else:
                client.frontend.send(client, request, Reply(body=msgspec.to_builtins(answer)))

        if self.helper is None or self.clocks is None:
            raise InvalidError("this daemon has no power helper", field="power.helper")
        if verb.mode is not None:
            self.clocks.mode(verb.mode, on_answer)
        elif verb.khz is not None:
            self.clocks.limit(verb.policy, verb.khz, on_answer)
        else:
            self.helper.ask(Look(), on_answer)

    def _operate(self, client: Client, request: bytes, verb: Load | Unload | Pin) -> None:
        """Carry out an operator's verb; the answer follows once it is settled."""
        scheduler, now = self._broker.scheduler, self._loop.time()
        match verb:
            case Load():
                effects = scheduler.on_load(verb.expert, now, ram_bytes=verb.ram_bytes)
                self._broker.settle(client, request, verb.expert, effects)
            case Unload():
                effects = scheduler.on_unload(verb.expert, now)
                self._broker.settle(client, request, verb.expert, effects)
            case Pin():
                scheduler.on_pin(verb.expert, pinned=verb.pinned)
                self._broker.perform([])
                slot = scheduler.slots[verb.expert]
                body: dict[str, object] = {
                    "expert": verb.expert,
                    "pinned": verb.pinned,
                    "state": slot.state.value,
                }
                client.frontend.send(client, request, Reply(body=body))

    def _look(self, verb: Ping | List | Show | Ps | Status | Energy | Reload) -> dict[str, object]:
        """Return what a verb asks to see."""
        body: dict[str, object] = {}
        match verb:
            case Ping():
                body = {"version": __version__, "wire": VERSION, "pid": os.getpid()}
            case List():
                body = self.views.experts()
            case Show():
                body = self.views.show(verb.expert)
            case Ps():
                body = self.views.ps()
            case Status():
                body = self.views.status()
            case Energy():
                body = self.views.energy()
            case Reload():
                body = self._reload()
        return body

    def _reload(self) -> dict[str, object]:
        """Read settings and packages again.

        Raises:
            InvalidError: the settings are wrong; nothing has changed.
        """
        try:
            change = self.on_reload()
        except ConfigError as error:
            raise InvalidError(f"not reloaded: {error}", field="settings") from error
        return {
            "added": change.added,
            "removed": change.removed,
            "changed": change.changed,
            "refused": self.views.refused(),
        }
