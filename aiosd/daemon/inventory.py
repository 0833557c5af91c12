"""What is installed, as the router, the scheduler and the workers need to know it."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from aiosd.domain.board import Machine
from aiosd.domain.errors import ExpertFailedError, PackageError
from aiosd.domain.footprint import Footprint
from aiosd.domain.manifest import Check, Manifest
from aiosd.models.need import ram_need
from aiosd.models.ram_need import RamNeed
from aiosd.policy.routing.cascade import MADE_UP
from aiosd.policy.routing.router import RouteFacts
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.protocol.pipe import Base, LoadExpert
from aiosd.store.catalogue import Catalogue, Refused, scan
from aiosd.store.digests import Aside, Digests
from aiosd.store.layout import Layout
from aiosd.store.manifests import Manifests
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)

# A load may take longer the larger the model: 5 min + 20 s/GiB is LocalAI's rule for eMMC and SD
# cards; ours starts from the setting.
SECONDS_PER_BYTE = 20 / 2**30

# A worker without a host has an interpreter, NumPy and an engine library of its own: of eight such
# workers on x86-64 with Python 3.11, Rss less what was reckoned for the model was 37 to 48 MB. PSS
# is less as far as others run the same libraries.
INTERPRETER_BYTES = 48 * 2**20


# What stands between name and release in the name of one that is tried out; no package's has it.
SIGN = "@"

# Engines of which the need is the sum of what they allocate, and not a bound.
PLANNED = {"llama"}


Needs = Mapping[str, RamNeed]


@dataclass(frozen=True)
class LoadRules:
    """What the settings and the board say about loading.

    `needs` are bytes by expert, of which the owner says that they are enough.
    """

    keep_alive_seconds: float
    park_after_seconds: float
    load_limit_seconds: float
    threads: int
    own_process: bool
    needs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """How a scan differs from the one before."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Inventory:
    """The installed experts."""

    def __init__(
        self,
        layout: Layout,
        machine: Machine,
        rules: LoadRules,
        known: Callable[[Manifest], Footprint | None] = lambda _: None,
    ) -> None:
        """Scan nothing yet; `known` tells what was measured of a release before."""
        self._layout = layout
        self._machine = machine
        self._known = known
        self._digests = Digests(layout.digests)
        self._manifests = Manifests(layout.manifests)
        self._needs: dict[str, RamNeed] = {}
        self._unseen: dict[str, dict[str, os.stat_result]] = {}
        self._unfit: dict[str, str] = {}
        self.aside: Aside = lambda work: work()
        self.rules = rules
        self.catalogue = Catalogue()
        self.trials: dict[str, Installed] = {}
        self.routes: dict[str, RouteFacts] = {}
        self.named: dict[str, RouteFacts] = {}
        self.checks: dict[str, Check] = {}

    def scan(self, layout: Layout, rules: LoadRules) -> Change:
        """Read all packages again; one that is bad hides no other."""
        self._layout, self.rules = layout, rules
        before = self.catalogue.experts
        found = scan(self._layout.experts, self._manifests.read)
        self._manifests.close()
        usable: dict[str, Installed] = {}
        own: list[Refused] = []
        self._unfit = {}
        for name, installed in found.experts.items():
            try:
                base = _base_of(installed, found.experts)
                self._needs[name] = self._examine(installed, base, before)
                usable[name] = installed
            except PackageError as error:
                own.append(Refused(installed.folder, error.message))
                self._unfit[name] = error.message
        for refused in (*found.refused, *own):
            log.warning("refused %s: %s", refused.path, refused.reason)
        self.catalogue = Catalogue(usable, (*found.refused, *own), found.hidden)
        self.routes = {name: _route(installed) for name, installed in usable.items()}
        self._name()
        self._note_checks()
        return _change(before, usable)

    def reckon(self, installed: Installed) -> Needs:
        """Return what a release will need, and who is an adapter on it, by name.

        Reading headers takes long, and touches nothing that changes: any thread may do it.

        Raises:
            PackageError: it cannot run on this machine, or its model file is malformed.
        """
        name = installed.manifest.name
        experts = {**self.catalogue.experts, name: installed}
        found = {name: self._examine(installed, _base_of(installed, experts), {})}
        for other in experts.values():
            if other.manifest.engine.base == name:
                found[other.manifest.name] = self._examine(other, installed, {})
        return found

    def try_out(self, alias: str, installed: Installed, needs: Needs) -> None:
        """Take a release in beside the one that serves, as an expert of its own.

        It is no part of the catalogue: it answers whoever names `alias`, and nothing is routed to
        it. `needs` is what `reckon` said of it.
        """
        apart = msgspec.structs.replace(installed.manifest, name=alias)
        self._needs[alias] = needs[installed.manifest.name]
        self.trials[alias] = Installed(apart, installed.folder)
        self._name()

    def end_trial(self, alias: str) -> None:
        """Let go of a release that was taken in by `try_out`."""
        self.trials.pop(alias, None)
        self._needs.pop(alias, None)
        self._unseen.pop(alias, None)
        self._name()

    def _name(self) -> None:
        """Note who answers if it is named: what is tried out is not among `routes`."""
        self.named = self.routes
        if self.trials:
            self.named = {**self.routes, **{each: _route(t) for each, t in self.trials.items()}}

    def replace(self, installed: Installed, needs: Needs) -> Change:
        """Put one release in the place of another, without a look at any other package.

        `needs` is what `reckon` said of it.
        """
        name, before = installed.manifest.name, self.catalogue.experts
        experts = {**before, name: installed}
        self._needs |= needs
        self._unfit.pop(name, None)
        catalogue = self.catalogue
        self.catalogue = Catalogue(experts, catalogue.refused, catalogue.hidden)
        self.routes = {**self.routes, name: _route(installed)}
        self._name()
        self._note_checks()
        return _change(before, experts)

    def _note_checks(self) -> None:
        """Note whose answers can be checked."""
        self.checks = {
            name: installed.manifest.check
            for name, installed in self.catalogue.experts.items()
            if installed.manifest.check is not None
        }

    @property
    def climbs(self) -> bool:
        """Whether an answer can be in doubt: by a package's check, or as small models err."""
        return bool(self.checks) or any(each.task in MADE_UP for each in self.routes.values())

    def find(self, name: str) -> Installed:
        """Return an installed expert, or a release that is tried out beside one.

        Raises:
            ExpertFailedError: it is here, and this board cannot run it.
            UnknownExpertError: there is none of that name.
        """
        trial = self.trials.get(name)
        if trial is not None:
            return trial
        self.explain(name)
        return self.catalogue.find(name)

    def explain(self, name: str) -> None:
        """Say why an expert that lies in the folders is not among those that can answer.

        Raises:
            ExpertFailedError: it cannot run on this board, or its files are bad.
        """
        reason = self._unfit.get(name)
        if reason is not None:
            raise ExpertFailedError(
                f"{name} is installed and cannot run here: {reason}", expert=name, reason=reason
            )

    def need(self, name: str) -> RamNeed:
        """Return what the files say an expert will need."""
        return self._needs[name]

    def packages(self) -> dict[str, str]:
        """Return which package each expert is of: its release and its files' digests."""
        return {
            name: f"{each.manifest.release} {' '.join(f.sha256[:16] for f in each.manifest.files)}"
            for name, each in self.catalogue.experts.items()
        }

    def facts(self) -> Iterable[ExpertFacts]:
        """Return what the scheduler wants to know of all experts."""
        experts = self.catalogue.experts
        bases = {each.manifest.engine.base for each in experts.values()} - {""}
        for name, installed in (*experts.items(), *self.trials.items()):
            size = sum(file.size for file in installed.manifest.files)
            need = self._needs[name]
            base = installed.manifest.engine.base or (name if name in bases else "")
            model = experts[base].manifest.model_digest if base else ""
            yield ExpertFacts(
                expert=name,
                need_bytes=self._need_bytes(installed),
                keep_alive_seconds=self.rules.keep_alive_seconds,
                load_limit_seconds=self.rules.load_limit_seconds + size * SECONDS_PER_BYTE,
                # Of an engine that cannot be parked these are not looked at.
                context_bytes=need.cache_bytes + need.compute_bytes,
                mapped_bytes=need.weights_bytes,
                park_after_seconds=self.rules.park_after_seconds,
                planned=installed.manifest.engine.name in PLANNED,
                known=self._known(installed.manifest),
                shared_model=model,
                shared_bytes=self._needs[base].weights_bytes if base else 0,
                threads=self._threads(installed),
            )

    def _need_bytes(self, installed: Installed) -> int:
        """Return the owner's word, or the larger of what the files and the publisher say."""
        manifest = installed.manifest
        if manifest.name in self.rules.needs:
            return self.rules.needs[manifest.name]
        computed = self._needs[manifest.name].total_bytes
        if self.rules.own_process:
            computed += INTERPRETER_BYTES
        return max(computed, manifest.needs.ram_bytes)

    def _threads(self, installed: Installed) -> int:
        """Return how many threads an expert can make use of here."""
        return max(1, min(installed.manifest.needs.threads, self.rules.threads))

    def order(self, name: str, *, awaited: bool = False) -> tuple[str, LoadExpert]:
        """Return the engine and the order to load an expert; unseen files are to be hashed.

        `awaited` says that a request waits for it.

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
        if name in self.trials:  # its worker is to know it by the name that it was published under
            own = name.partition(SIGN)[0]
            manifest = msgspec.structs.replace(manifest, name=own)
        return manifest.engine.name, LoadExpert(
            manifest=manifest,
            folder=str(installed.folder),
            threads=self._threads(installed),
            verify=list(unseen),
            base=self._base(installed),
            awaited=awaited,
        )

    def _base(self, installed: Installed) -> Base | None:
        """Return the model of another expert that an expert uses; a worker hashes it if need be."""
        name = installed.manifest.name
        try:
            base = _base_of(installed, self.catalogue.experts)
            if base is None:
                return None
            unseen = self._digests.unseen(base)
        except PackageError as error:
            raise ExpertFailedError(error.message, expert=name, reason=error.message) from error
        files = base.manifest.model_files
        verify = [file.path for file in files if file.path in unseen]
        return Base(folder=str(base.folder), files=files, verify=verify)

    def on_loaded(self, name: str) -> None:
        """Trust what a worker has hashed, until the files change."""
        unseen = self._unseen.pop(name, {})
        installed = self.trials.get(name) or self.catalogue.experts.get(name)
        if unseen and installed is not None:
            self._digests.remember(installed, unseen, self.aside)

    def _examine(
        self, installed: Installed, base: Installed | None, before: Mapping[str, Installed]
    ) -> RamNeed:
        """Check that a package can run on this machine, and compute what it needs.

        Raises:
            PackageError: the processor lacks something, or the model file is malformed.
        """
        lacking = self._machine.lacks(installed.manifest.needs.isa)
        if lacking:
            raise PackageError(f"this processor lacks {', '.join(lacking)}")
        name = installed.manifest.name
        known = name in self._needs and before.get(name) == installed
        if known and (base is None or before.get(base.manifest.name) == base):
            return self._needs[name]
        owner = base or installed
        model, adapter = owner.manifest.model, installed.manifest.adapter
        return ram_need(
            installed.manifest,
            owner.path_of(model) if model else None,
            installed.path_of(adapter) if adapter else None,
        )


def _base_of(installed: Installed, experts: Mapping[str, Installed]) -> Installed | None:
    """Return the expert whose model this one uses, if it uses another's.

    Raises:
        PackageError: that expert is not there, or has no model for the same engine.
    """
    engine = installed.manifest.engine
    if not engine.base:
        return None
    base = experts.get(engine.base)
    if base is None:
        raise PackageError(f"its base {engine.base} is not installed: install that first")
    if base.manifest.model is None or base.manifest.engine.name != engine.name:
        raise PackageError(f"its base {engine.base} has no model for the engine {engine.name}")
    return base


def _change(before: Mapping[str, Installed], after: Mapping[str, Installed]) -> Change:
    """Return how two catalogues differ; an expert on another's model changes with that."""
    return Change(
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        changed=sorted(
            name
            for name in after.keys() & before.keys()
            if after[name] != before[name]
            or _base_of(after[name], after) != _base_of(before[name], before)
        ),
    )


def _route(installed: Installed) -> RouteFacts:
    """Return what routing looks at."""
    manifest = installed.manifest
    return RouteFacts(
        manifest.name,
        manifest.task,
        manifest.input.type,
        manifest.input.max_bytes,
        manifest.privacy,
        labels=frozenset(manifest.routing.labels),
    )
