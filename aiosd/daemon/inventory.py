"""What is installed, as the router, the scheduler and the workers need to know it."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass

from aiosd.domain.board import Machine
from aiosd.domain.errors import ExpertFailedError, PackageError
from aiosd.models.need import RamNeed, ram_need
from aiosd.policy.router import RouteFacts
from aiosd.policy.slots import ExpertFacts
from aiosd.protocol.pipe import LoadExpert
from aiosd.store.catalogue import Catalogue, Refused, scan
from aiosd.store.digests import Digests
from aiosd.store.layout import Layout
from aiosd.store.manifests import Manifests
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)

# A load may take longer the larger the model: 5 min + 20 s/GiB is LocalAI's rule for eMMC and SD
# cards; ours starts from the setting.
SECONDS_PER_BYTE = 20 / 2**30

# A worker without a host has an interpreter, NumPy and an engine library of its own: PSS of an
# engine host on x86-64 with Python 3.11 is 36 to 46 MiB.
INTERPRETER_BYTES = 48 * 2**20


@dataclass(frozen=True)
class LoadRules:
    """What the settings and the board say about loading."""

    keep_alive_seconds: float
    load_limit_seconds: float
    threads: int
    own_process: bool


@dataclass(frozen=True)
class Change:
    """How a scan differs from the one before."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Inventory:
    """The installed experts."""

    def __init__(self, layout: Layout, machine: Machine, rules: LoadRules) -> None:
        """Scan nothing yet."""
        self._layout = layout
        self._machine = machine
        self._digests = Digests(layout.digests)
        self._manifests = Manifests(layout.manifests)
        self._needs: dict[str, RamNeed] = {}
        self._unseen: dict[str, dict[str, os.stat_result]] = {}
        self._own: list[Refused] = []
        self.rules = rules
        self.catalogue = Catalogue()
        self.routes: dict[str, RouteFacts] = {}

    def scan(self, layout: Layout, rules: LoadRules) -> Change:
        """Read all packages again; one that is bad hides no other."""
        self._layout, self.rules = layout, rules
        before = self.catalogue.experts
        found = scan(self._layout.experts, self._manifests.read)
        self._manifests.close()
        usable: dict[str, Installed] = {}
        self._own = []
        for name, installed in found.experts.items():
            try:
                self._needs[name] = self._examine(installed, before.get(name))
                usable[name] = installed
            except PackageError as error:
                self._own.append(Refused(installed.folder, error.message))
        for refused in (*found.refused, *self._own):
            log.warning("refused %s: %s", refused.path, refused.reason)
        self.catalogue = Catalogue(usable, (*found.refused, *self._own), found.hidden)
        self.routes = {name: _route(installed) for name, installed in usable.items()}
        return Change(
            added=sorted(usable.keys() - before.keys()),
            removed=sorted(before.keys() - usable.keys()),
            changed=sorted(
                name for name in usable.keys() & before.keys() if usable[name] != before[name]
            ),
        )

    def find(self, name: str) -> Installed:
        """Return an installed expert.

        Raises:
            UnknownExpertError: there is none of that name.
        """
        return self.catalogue.find(name)

    def need(self, name: str) -> RamNeed:
        """Return what the files say an expert will need."""
        return self._needs[name]

    def facts(self) -> Iterable[ExpertFacts]:
        """Return what the scheduler wants to know of all experts."""
        for name, installed in self.catalogue.experts.items():
            size = sum(file.size for file in installed.manifest.files)
            yield ExpertFacts(
                expert=name,
                need_bytes=self._need_bytes(installed),
                keep_alive_seconds=self.rules.keep_alive_seconds,
                load_limit_seconds=self.rules.load_limit_seconds + size * SECONDS_PER_BYTE,
            )

    def _need_bytes(self, installed: Installed) -> int:
        """Return the larger of what the files say and what the publisher measured."""
        manifest = installed.manifest
        computed = self._needs[manifest.name].total_bytes
        if self.rules.own_process:
            computed += INTERPRETER_BYTES
        return max(computed, manifest.needs.ram_bytes)

    def order(self, name: str) -> tuple[str, LoadExpert]:
        """Return the engine and the order to load an expert; unseen files are to be hashed.

        Raises:
            ExpertFailedError: a file went missing since the scan.
        """
        installed = self.find(name)
        try:
            unseen = self._digests.unseen(installed)
        except PackageError as error:
            raise ExpertFailedError(error.message, expert=name, reason=error.message) from error
        self._unseen[name] = unseen
        manifest = installed.manifest
        return manifest.engine.name, LoadExpert(
            manifest=manifest,
            folder=str(installed.folder),
            threads=max(1, min(manifest.needs.threads, self.rules.threads)),
            verify=list(unseen),
        )

    def on_loaded(self, name: str) -> None:
        """Trust what a worker has hashed, until the files change."""
        unseen = self._unseen.pop(name, {})
        installed = self.catalogue.experts.get(name)
        if unseen and installed is not None:
            self._digests.remember(installed, unseen)

    def _examine(self, installed: Installed, before: Installed | None) -> RamNeed:
        """Check that a package can run on this machine, and compute what it needs.

        Raises:
            PackageError: the processor lacks something, or the model file is malformed.
        """
        lacking = self._machine.lacks(installed.manifest.needs.isa)
        if lacking:
            raise PackageError(f"this processor lacks {', '.join(lacking)}")
        name = installed.manifest.name
        if before == installed and name in self._needs:
            return self._needs[name]
        model = installed.manifest.model
        return ram_need(installed.manifest, installed.path_of(model) if model else None)


def _route(installed: Installed) -> RouteFacts:
    """Return what routing looks at."""
    manifest = installed.manifest
    return RouteFacts(
        manifest.name,
        manifest.task,
        manifest.input.type,
        manifest.input.max_bytes,
        manifest.privacy,
    )
