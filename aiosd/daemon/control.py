"""The verbs that are not `run`: looking for everybody, loading and the like for operators only."""

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from aiosd.daemon.broker import Broker
from aiosd.daemon.frontend import Client
from aiosd.daemon.hosts import Hosts
from aiosd.daemon.inventory import Change, Inventory
from aiosd.daemon.telemetry import Telemetry
from aiosd.daemon.workers import Workers
from aiosd.domain.errors import ConfigError, ForbiddenError, InvalidError
from aiosd.domain.power import EnergySource
from aiosd.policy.slots import Slot
from aiosd.protocol.codec import Envelope
from aiosd.protocol.messages import (
    ADMIN_ONLY,
    VERSION,
    Cancel,
    Decisions,
    Energy,
    Explain,
    Feedback,
    List,
    Load,
    Pin,
    Ping,
    Ps,
    Reload,
    Reply,
    Run,
    Show,
    Status,
    Unload,
)
from aiosd.sensors.memory import read_process

ADMIN = "admin"


def own_version() -> str:
    """Return the version of the installed package."""
    from importlib.metadata import (  # noqa: PLC0415 - a tenth of the time to READY
        PackageNotFoundError,
        version,
    )

    try:
        return version("aiosd")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Facts:
    """What `status` tells that does not change while the daemon runs, or only on reload."""

    board: str
    profile_reason: str
    cap_reason: str
    enforced_by: str
    config_path: str
    started: float


class Control:
    """Takes every message from both frontends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        workers: Workers,
        hosts: Hosts | None,
    ) -> None:
        """Look into these; `facts` and `on_reload` are set by the daemon before it listens."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self._workers = workers
        self._hosts = hosts
        self.telemetry: Telemetry | None = None
        self.facts = Facts("", "", "", "", "", time.time())
        self.on_reload: Callable[[], Change] = lambda: Change([], [], [])

    def on_message(self, client: Client, envelope: Envelope) -> None:
        """Take one message.

        Raises:
            AiosdError: it is refused; the frontend answers with it.
        """
        verb = envelope.verb
        if isinstance(verb, Run):
            self._broker.on_run(client, envelope, verb)
            return
        if isinstance(verb, ADMIN_ONLY) and client.frontend.name != ADMIN:
            raise ForbiddenError("this verb is for the admin socket", socket="admin.sock")
        match verb:
            case Cancel():
                self._broker.on_cancel(client, envelope.id)
            case Load(expert=name) | Unload(expert=name) | Pin(expert=name):
                self._inventory.find(name)
                self._operate(client, envelope.id, verb)
            case Explain() | Feedback() | Decisions():
                client.frontend.send(client, envelope.id, Reply(body=self._routing(verb)))
            case _:
                client.frontend.send(client, envelope.id, Reply(body=self._look(verb)))

    def _routing(self, verb: Explain | Feedback | Decisions) -> dict[str, object]:
        """Answer for the router.

        Raises:
            InvalidError: there is no such decision, or it was judged already.
        """
        routing = self._broker.routing
        match verb:
            case Explain():
                decision = routing.explain(verb.text, verb.task, verb.options)
                return {"decision": msgspec.to_builtins(decision)}
            case Feedback():
                return routing.on_feedback(verb.id, good=verb.good)
            case Decisions():
                return routing.told_in_full(verb.last)

    def _operate(self, client: Client, request: bytes, verb: Load | Unload | Pin) -> None:
        """Carry out an operator's verb; the answer follows once it is settled."""
        scheduler, now = self._broker.scheduler, self._loop.time()
        match verb:
            case Load():
                effects = scheduler.on_load(verb.expert, now)
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
                body = {"version": own_version(), "wire": VERSION, "pid": os.getpid()}
            case List():
                body = self._list()
            case Show():
                body = self._show(verb.expert)
            case Ps():
                body = self._ps()
            case Status():
                body = self._status()
            case Energy():
                body = self._energy()
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
            "refused": self._refused(),
        }

    def _list(self) -> dict[str, object]:
        slots = self._broker.scheduler.slots
        experts = []
        for name, installed in self._inventory.catalogue.experts.items():
            manifest, slot = installed.manifest, slots[name]
            experts.append(
                {
                    "name": name,
                    "release": manifest.release,
                    "task": manifest.task.value,
                    "summary": manifest.summary,
                    "engine": manifest.engine.name,
                    "input": manifest.input.type.value,
                    "state": slot.state.value,
                    "pinned": slot.pinned,
                    "size_bytes": sum(file.size for file in manifest.files),
                    "need_bytes": slot.need_bytes,
                }
            )
        return {"experts": experts, "refused": self._refused()}

    def _refused(self) -> list[dict[str, str]]:
        return [
            {"path": str(each.path), "reason": each.reason}
            for each in self._inventory.catalogue.refused
        ]

    def _show(self, name: str) -> dict[str, object]:
        installed = self._inventory.find(name)
        need = self._inventory.need(name)
        return {
            "manifest": msgspec.to_builtins(installed.manifest),
            "folder": str(installed.folder),
            "need": msgspec.to_builtins(need),
            "computed_need_bytes": need.total_bytes,
            **self._worker(name, self._broker.scheduler.slots[name]),
        }

    def _ps(self) -> dict[str, object]:
        experts = [
            self._worker(name, slot)
            for name, slot in self._broker.scheduler.slots.items()
            if slot.loaded or slot.wanted
        ]
        hosts = []
        for host in self._hosts.hosts.values() if self._hosts else ():
            pid = host.child.pid if host.child else 0
            memory = read_process(pid)
            hosts.append(
                {
                    "engine": host.engine,
                    "pid": pid,
                    "version": host.ready.version if host.ready else "starting",
                    "import_ms": host.ready.import_ms if host.ready else None,
                    "pss_bytes": memory.pss_bytes if memory else 0,
                    "private_bytes": memory.anon_bytes if memory else 0,
                    "held_bytes": host.ready.pss_bytes if host.ready else 0,
                    "workers": len(host.workers),
                }
            )
        return {"experts": experts, "hosts": hosts}

    def _worker(self, name: str, slot: Slot) -> dict[str, object]:
        """Return how one expert stands, with its process if it has one."""
        worker, now = self._workers.workers.get(name), self._loop.time()
        ready = worker.ready if worker else None
        memory = read_process(ready.pid) if ready else None
        return {
            "name": name,
            "release": self._inventory.find(name).manifest.release if not slot.removed else 0,
            "state": slot.state.value,
            "pid": ready.pid if ready else None,
            "engine": ready.engine if ready else self._engine(name),
            "ram_bytes": memory.pss_bytes if memory else 0,
            "own_bytes": memory.own_bytes if memory else 0,
            "private_bytes": memory.anon_bytes if memory else 0,
            "held_bytes": self._broker.scheduler.ledger.held(name),
            "need_bytes": slot.need_bytes,
            "load_ms": ready.load_ms if ready else None,
            "since_seconds": now - slot.ready_at if ready else None,
            "idle_seconds": now - slot.idle_since if ready and not slot.serving else None,
            "requests": self._broker.counts.by_expert.get(name, 0),
            "queue": len(slot.queue),
            "pinned": slot.pinned,
            "confinement": msgspec.to_builtins(ready.confinement) if ready else None,
        }

    def _engine(self, name: str) -> str:
        installed = self._inventory.catalogue.experts.get(name)
        return installed.manifest.engine.name if installed else ""

    def _status(self) -> dict[str, object]:
        scheduler, counts, facts = self._broker.scheduler, self._broker.counts, self.facts
        memory = read_process(os.getpid())
        loaded = sum(slot.loaded for slot in scheduler.slots.values())
        return {
            "version": own_version(),
            "pid": os.getpid(),
            "uptime_seconds": time.time() - facts.started,
            "board": facts.board,
            "profile_reason": facts.profile_reason,
            "config_path": facts.config_path,
            "ram_cap_bytes": scheduler.ledger.cap_bytes,
            "ram_cap_reason": facts.cap_reason,
            "ram_used_bytes": scheduler.ledger.used_bytes,
            "ram_free_bytes": max(0, scheduler.ledger.free_bytes),
            "enforced_by": facts.enforced_by,
            "daemon_pss_bytes": memory.pss_bytes if memory else 0,
            "experts": {"installed": len(scheduler.slots), "loaded": loaded},
            "queue": scheduler.queued,
            "requests": {
                "answered": counts.answered,
                "failed": counts.failed,
                "cold_loads": counts.cold,
            },
            "evictions": scheduler.evictions,
            "power": self._power(),
            "routing": self._broker.routing.told(),
            "stopping": scheduler.stopping,
        }

    def _power(self) -> dict[str, object]:
        """Return what the instruments say now."""
        telemetry = self.telemetry
        if telemetry is None:
            return {}
        battery = telemetry.battery()
        return {
            "meter": telemetry.meter.name,
            "source": telemetry.meter.source.value,
            "scope": telemetry.meter.scope.value,
            "watts": telemetry.watts,
            "idle_watts": telemetry.books.idle_watts,
            "silence": telemetry.silence,
            "passed_over": [f"{each.name}: {each.reason}" for each in telemetry.meter.passed_over],
            "heat": {each.zone: each.celsius for each in telemetry.heat()},
            "battery": msgspec.to_builtins(battery) if battery else None,
            "allowance": dataclasses.asdict(telemetry.allowance) if telemetry.allowance else None,
        }

    def _energy(self) -> dict[str, object]:
        """Return where all joules went."""
        if self.telemetry is None:
            return {}
        totals = self.telemetry.totals()
        if totals.source is EnergySource.NONE:
            return {"source": totals.source.value}  # and no zeros that look like joules
        experts = {
            name: {
                "joules": each.joules,
                "request_joules": each.request_joules,
                "resident_joules": each.resident_joules,
                "requests": each.requests,
                "cpu_seconds": each.cpu_seconds,
                "units": each.units,
                "units_per_joule": each.units / each.joules if each.joules > 0 else None,
            }
            for name, each in totals.experts.items()
        }
        return {
            "source": totals.source.value,
            "scope": totals.scope.value,
            "meter_joules": totals.meter_joules,
            "idle_joules": totals.idle_joules,
            "other_joules": totals.other_joules,
            "gap_seconds": totals.gap_seconds,
            "idle_watts": totals.idle_watts,
            "experts": experts,
            "clients": totals.clients,
        }
