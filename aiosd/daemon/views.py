"""What the verbs that only look are answered with: experts, processes, books and instruments."""

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable

import msgspec

from aiosd import __version__
from aiosd.daemon.broker import Broker
from aiosd.daemon.cost import books_of
from aiosd.daemon.facts import Facts
from aiosd.daemon.inventory import Inventory
from aiosd.daemon.power.levers import ClockKeeper
from aiosd.daemon.power.telemetry import Telemetry
from aiosd.daemon.workers.crew import Worker, Workers
from aiosd.daemon.workers.hosts import Hosts
from aiosd.domain.expert import ExpertState
from aiosd.policy.serving.slots import Slot
from aiosd.policy.serving.turns import HELD
from aiosd.sensors.memory import read_process


class Views:
    """Looks into the parts of the daemon, and changes nothing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        workers: Workers,
        hosts: Hosts | None,
    ) -> None:
        """Look into these; `facts`, `telemetry` and `clocks` are set by the daemon."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self._workers = workers
        self._hosts = hosts
        self.telemetry: Telemetry | None = None
        self.clocks: ClockKeeper | None = None
        self.energy_since: Callable[[], float] = time.time
        self.facts = Facts("", "", "", "", (), "", time.time())

    def experts(self) -> dict[str, object]:
        """Return the installed experts, and what was refused."""
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
                    "need_bytes": slot.appetite.need_bytes,
                }
            )
        return {"experts": experts, "refused": self.refused()}

    def refused(self) -> list[dict[str, str]]:
        """Return the folders that hold no usable package, with the reason."""
        return [
            {"path": str(each.path), "reason": each.reason}
            for each in self._inventory.catalogue.refused
        ]

    def show(self, name: str) -> dict[str, object]:
        """Return everything known of one expert."""
        installed = self._inventory.find(name)
        need = self._inventory.need(name)
        return {
            "manifest": msgspec.to_builtins(installed.manifest),
            "folder": str(installed.folder),
            "need": msgspec.to_builtins(need),
            "computed_need_bytes": need.total_bytes,
            **self._worker(name, self._broker.scheduler.slots[name]),
        }

    def ps(self) -> dict[str, object]:
        """Return who is loaded, and the engine hosts."""
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
            "mapped_bytes": memory.mapped_bytes if memory else 0,
            "reclaimable_bytes": memory.pss_bytes - memory.anon_bytes if memory else 0,
            "limit_bytes": self._workers.groups.limit_of(name),
            "held_bytes": self._broker.scheduler.ledger.held(name),
            "held_mapped_bytes": self._broker.scheduler.ledger.file_bytes(name),
            "need_bytes": slot.appetite.need_bytes,
            "load_ms": ready.load_ms if ready else None,
            "since_seconds": now - slot.ready_at if ready else None,
            "idle_seconds": now - slot.idle_since if ready and not slot.serving else None,
            "requests": self._broker.counts.by_expert.get(name, 0),
            "queue": len(slot.queue),
            "pinned": slot.pinned,
            "priority": slot.serving.priority.value if slot.serving else None,
            "threads": worker.threads if worker and slot.serving else None,
            "nice": self._nice(worker),
            "confinement": msgspec.to_builtins(ready.confinement) if ready else None,
        }

    def _nice(self, worker: Worker | None) -> int | None:
        """Return how nice a worker is: as it was set, else as it started."""
        if worker is None or worker.ready is None:
            return None
        return worker.ready.confinement.nice if worker.nice is None else worker.nice

    def _engine(self, name: str) -> str:
        installed = self._inventory.catalogue.experts.get(name)
        return installed.manifest.engine.name if installed else ""

    def status(self) -> dict[str, object]:
        """Return the daemon's own condition."""
        scheduler, counts, facts = self._broker.scheduler, self._broker.counts, self.facts
        memory = read_process(os.getpid())
        loaded = sum(slot.loaded for slot in scheduler.slots.values())
        parked = sum(slot.state is ExpertState.PARKED for slot in scheduler.slots.values())
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_seconds": time.time() - facts.started,
            "board": facts.board,
            "profile_reason": facts.profile_reason,
            "config_path": facts.config_path,
            "experts_folders": list(facts.experts_folders),
            "state_folder": facts.state_folder,
            "ram_cap_bytes": scheduler.ledger.cap_bytes,
            "ram_cap_reason": facts.cap_reason,
            "ram_used_bytes": scheduler.ledger.used_bytes,
            "ram_mapped_bytes": scheduler.ledger.mapped_bytes,
            "ram_free_bytes": max(0, scheduler.ledger.free_bytes),
            **self._memory(),
            "daemon_pss_bytes": memory.pss_bytes if memory else 0,
            "experts": {"installed": len(scheduler.slots), "loaded": loaded, "parked": parked},
            "queue": scheduler.queued,
            "waiting_for": self._waiting_for(),
            "requests": {
                "answered": counts.answered,
                "failed": counts.failed,
                "cold_loads": self._broker.loader.loads,
            },
            "evictions": scheduler.evictions,
            "parkings": scheduler.residency.parkings,
            "power": self._power(),
            "routing": self._broker.routing.told(),
            "stopping": scheduler.stopping,
        }

    def _waiting_for(self) -> str:
        """Return what keeps requests waiting beside the cores; nothing if nothing does."""
        turns, telemetry = self._broker.scheduler.turns, self.telemetry
        allowance = telemetry.allowance if telemetry else None
        if turns.held:
            return f"{HELD}: {'; '.join(allowance.why) if allowance else ''}"
        return "" if turns.surplus else "background work: waiting for surplus power"

    def _memory(self) -> dict[str, object]:
        """Return what holds the RAM cap, what the machine has left, and of which kind it is.

        Anonymous memory is there until its process gives it back; what is mapped from files (a
        model's weights) the kernel may take back, and read again.
        """
        groups, watch = self._workers.groups, self._workers.watch
        reading = watch.reading()
        held = [read_process(pid) for _, pid in self._workers.pids()]
        anonymous = sum(each.anon_bytes for each in held if each)
        return {
            "enforced_by": groups.mechanism,
            "cgroup_problems": groups.problems,
            "experts_anonymous_bytes": anonymous,
            "experts_reclaimable_bytes": sum(each.pss_bytes for each in held if each) - anonymous,
            "memory_total_bytes": reading.total_bytes,
            "memory_available_bytes": reading.available_bytes,
            "memory_short": watch.short,
            "memory_stalls": watch.stalls,
            "memory_watched_by": watch.mechanism,
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
            "sysroot": str(telemetry.root),
            "calibration": str(telemetry.calibration),
            "clock_share": self.clocks.share if self.clocks else 1.0,
            "allowance": dataclasses.asdict(telemetry.allowance) if telemetry.allowance else None,
        }

    def energy(self) -> dict[str, object]:
        """Return where all joules went."""
        if self.telemetry is None:
            return {}
        return books_of(self.telemetry.totals(), self.energy_since())
