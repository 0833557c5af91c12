"""Whether a release deserves to serve: checked, loaded beside the one that does, and asked.

It is loaded as any expert is, by the same scheduler into the same kind of walled-in worker, under
a name of its own that nothing is routed to.
"""

import asyncio
import hashlib
import logging
import platform
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from aiosd.daemon.broker import Broker
from aiosd.daemon.inventory import SIGN, Inventory, Needs
from aiosd.daemon.releases.holding import Holding
from aiosd.daemon.releases.house import House
from aiosd.daemon.releases.release_desk import ReleaseDesk
from aiosd.daemon.releases.self_tests import Verdict, examine, questions
from aiosd.daemon.workers.child import THREADS
from aiosd.domain.errors import AiosdError, ErrorCode, PackageError
from aiosd.domain.request import Outcome
from aiosd.domain.rollout import Report, Rollout
from aiosd.models.check import check_package
from aiosd.policy.rollout.events import Failed, Fault
from aiosd.policy.rollout.fitness import unfit
from aiosd.policy.routing.collision import Shift, shifts
from aiosd.policy.routing.lessons import key_of
from aiosd.protocol.codec import Buffer
from aiosd.protocol.messages import Run
from aiosd.store.foresight import UnforeseenError, foresee
from aiosd.store.heads import Heads, lessons_of
from aiosd.store.packages import Installed

log = logging.getLogger(__name__)

# How an answer of the board itself is told from one of the release.
_WORLD = frozenset({ErrorCode.BUSY, ErrorCode.OVER_POWER, ErrorCode.CANCELLED})


class UnworthyError(Exception):
    """The release may not serve; `failed` says why and whose fault that is."""

    def __init__(self, reason: str, fault: Fault = Fault.RELEASE) -> None:
        """Take one sentence."""
        super().__init__(reason)
        self.failed = Failed(reason, fault)


@dataclass(frozen=True)
class Board:
    """What a release must fit beside RAM, what an answer costs, and how a head is made."""

    heads: Heads
    environment: Mapping[str, str]
    cap_watts: Callable[[], float]
    predict: Callable[[str], float | None]
    held_now: Callable[[str], int]


def alias_of(name: str, release: int) -> str:
    """Return the name under which a release is tried out; no package can have it."""
    return f"{name}{SIGN}{release}"


class Probe:
    """Takes releases in beside those that serve."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        inventory: Inventory,
        desk: ReleaseDesk,
        board: Board,
    ) -> None:
        """Try nothing out yet."""
        self._loop = loop
        self._broker = broker
        self._inventory = inventory
        self._desk = desk
        self._board = board
        self.house = House(loop, broker)
        self.holding = Holding(loop, broker)

    async def take_in(self, row: Rollout) -> Report:
        """Check a staged release, load it and run its self-tests; it then stays loaded.

        Where it has no room beside the one that serves, requests to that wait from now on, until
        `holding.end`.

        Raises:
            UnworthyError: it may not serve.
            OSError, LedgerError: the disk says no.
        """
        installed = await self._desk.do(lambda: self._open(row))
        await self.seat(row.name, installed)
        alias = alias_of(row.name, row.release)
        self.holding.begin(row.name, alias)
        await self._load(alias, gentle=not self.holding.holds(row.name))
        verdict = await self.check(row)
        held = await self._desk.do(lambda: self._board.held_now(alias))
        collisions = await self._collisions(installed)
        slot = self._broker.scheduler.slots[alias]
        return Report(
            passed=verdict.cases - len(verdict.failures),
            cases=verdict.cases,
            peak_bytes=max(slot.appetite.peak_bytes, held),
            load_ms=slot.reload_seconds * 1e3,
            run_ms=verdict.run_ms,
            joules=self._board.predict(alias) or 0.0,
            collisions=tuple(collisions),
        )

    async def check(self, row: Rollout) -> Verdict:
        """Run the self-tests of a release that is loaded.

        Raises:
            UnworthyError: it does not pass.
        """
        alias = alias_of(row.name, row.release)
        installed = self._inventory.find(alias)
        manifest = installed.manifest
        asked = await self._desk.do(lambda: questions(manifest, installed.folder))
        try:
            verdict = await examine(manifest, asked, alias, partial(self._ask, row.name, alias))
        except AiosdError as error:
            raise UnworthyError(error.message, Fault.WORLD) from error
        if not verdict.good(manifest.self_test.pass_mark):
            told = "; ".join(verdict.failures[:3])
            more = len(verdict.failures) - 3
            raise UnworthyError(told + (f"; and {more} more" if more > 0 else ""))
        return verdict

    async def _ask(self, name: str, alias: str, run: Run, attachments: Sequence[Buffer]) -> Outcome:
        """Ask a release that is tried out, unless others have waited long enough for that.

        Raises:
            UnworthyError: they have; the release is as good as before.
            AiosdError: there is no answer, and why.
        """
        said = self.holding.broken(name)
        if said:
            raise UnworthyError(said, Fault.WORLD)
        self.holding.begin(name, alias)  # what both need may only just have been found out
        return await self.house.run(run, attachments)

    def lacking(self, row: Rollout) -> str:
        """Say for want of what a release has no worker; "" if it has one, or is not to have one."""
        alias = alias_of(row.name, row.release)
        slot = self._broker.scheduler.slots.get(alias)
        if slot is None or slot.loaded or not slot.wanted:
            return ""
        said = self.holding.crowded(row.name, alias)
        need = slot.appetite.expected_bytes() / 2**20
        return said or f"no room: {alias} needs {need:.1f} MiB, which others had all the time"

    async def seat(self, name: str, installed: Installed) -> None:
        """Give a release a place of its own beside the one that serves.

        Raises:
            UnworthyError: this machine cannot run it.
        """
        alias = alias_of(name, installed.manifest.release)
        try:
            needs = await self._desk.do(lambda: self._inventory.reckon(installed))
        except PackageError as error:
            raise UnworthyError(error.message) from error
        self._inventory.try_out(alias, installed, needs)
        self._tell()

    async def look_ahead(self, installed: Installed) -> Needs:
        """Do what takes long of putting a release in the place of another; return what it needs.

        Raises:
            PackageError: it cannot run on this machine.
        """
        experts = self._inventory.catalogue.experts
        name, heads = installed.manifest.name, self._board.heads

        def look() -> Needs:
            before = key_of(lessons_of(experts.values()))
            after = key_of(lessons_of({**experts, name: installed}.values()))
            if after not in ("", before):
                heads.read_ahead(after)
            return self._inventory.reckon(installed)

        return await self._desk.do(look)

    def unseat(self, alias: str) -> None:
        """Let a release go; who waits for it is answered by the one that serves."""
        if alias in self._inventory.trials:
            self._inventory.end_trial(alias)
            self._tell()

    def _tell(self) -> None:
        """Let the scheduler know who is there."""
        effects = self._broker.scheduler.on_catalogue(
            self._inventory.facts(), [], self._loop.time()
        )
        self._broker.perform(effects)

    async def _load(self, alias: str, *, gentle: bool) -> None:
        """Load a release; `gentle` if the one that serves answers meanwhile.

        Raises:
            UnworthyError: it cannot be loaded.
        """
        try:
            await self.house.load(alias, gentle=gentle)
        except AiosdError as error:
            fault = Fault.CHANCE
            if error.code in _WORLD:
                fault = Fault.WORLD
            elif error.code is ErrorCode.OVER_RAM:
                # What could never have the room is not asked again; what finds it taken is.
                fault = Fault.RELEASE if self._never(alias) else Fault.WORLD
            raise UnworthyError(error.message, fault) from error

    def _never(self, alias: str) -> bool:
        """Tell whether a release needs more than the cap, whatever hosts and others take of it."""
        scheduler = self._broker.scheduler
        return scheduler.slots[alias].appetite.need_bytes > scheduler.ledger.cap_bytes

    def _open(self, row: Rollout) -> Installed:
        """Read a release from the disk and check everything that can be without loading it.

        Raises:
            UnworthyError: something is wrong with it.
        """
        releases = self._desk.releases
        try:
            data = (releases.folder(row.name, row.release) / "manifest.json").read_bytes()
            if hashlib.sha256(data).hexdigest() != row.sha256:
                raise UnworthyError("its manifest.json is not the one that was fetched")
            published = releases.release(row.name, row.release)
            installed = releases.open(row.name, row.release)
            check_package(installed.manifest, installed.folder)
        except FileNotFoundError as error:
            raise UnworthyError(f"it is not on the disk any more: {error}") from error
        except PackageError as error:
            raise UnworthyError(error.message) from error
        if published is not None:
            found = list(
                unfit(
                    published.requires,
                    arch=platform.machine(),
                    page_bytes=resource.getpagesize(),
                    room_bytes=self._broker.scheduler.ledger.room_bytes,
                    cap_watts=self._board.cap_watts(),
                )
            )
            if found:
                raise UnworthyError("; ".join(found))
        return installed

    async def _collisions(self, installed: Installed) -> list[str]:
        """Return who loses texts of its own to a release, which is refused if they are too many.

        The head that it will be routed by is made on the way, and is there when it is committed.

        Raises:
            UnworthyError: it takes too many.
        """
        experts = dict(self._inventory.catalogue.experts)
        before = lessons_of(experts.values())
        after = lessons_of({**experts, installed.manifest.name: installed}.values())
        heads, environment = self._board.heads, {**self._board.environment, **THREADS}

        def compare() -> list[Shift]:
            was = foresee(before, heads, environment)
            return shifts(was, foresee(after, heads, environment))

        try:
            found = await self._desk.aside(compare)
        except UnforeseenError as error:
            log.warning("what %s takes from others is not known: %s", installed.folder, error)
            return []
        hurt = [each for each in found if each.too_much and each.expert != installed.manifest.name]
        if hurt:
            told = ", ".join(f"{each.expert} loses {each.lost}" for each in hurt)
            raise UnworthyError(f"it takes texts from other experts: {told} of their own texts")
        return [each.expert for each in found if each.lost > 0]
