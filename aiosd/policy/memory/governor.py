"""Whether an expert fits the RAM cap: the books, and the verdict before a load.

Reserve, then load, then reconcile (as TensorFlow Serving's ResourceTracker does): an expert's
estimated need is in the books before its worker starts, so that two loads at once cannot both
"fit"; what was measured replaces it as soon as it is known.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from aiosd.policy.memory.eviction import Candidate, Victim, choose, leave


@dataclass(frozen=True)
class Fits:
    """There is room."""


@dataclass(frozen=True)
class Evict:
    """There is room once these have left, or given back what they can do without."""

    victims: tuple[Victim, ...]


@dataclass(frozen=True)
class Wait:
    """There will be room once these are done and left; with none named, once others are gone."""

    victims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Never:
    """There is no way to make room: need, what could be had at best, and who is in the way."""

    need_bytes: int
    best_bytes: int
    pinned: tuple[str, ...]


Verdict = Fits | Evict | Wait | Never


# Between two measurements processes take some pages unseen: in three soaks of ten minutes at 256
# MiB (`tools/soak`) the sum of all PSS was over full books in 1 of 27,987 samples, by 0.04 %.
SPARE_SHARE = 1 / 128


class Ledger:
    """Bytes held per expert against one cap, beside what the engine hosts take of it.

    A forked worker shares most of its pages with its host. The host is counted whole, and each
    worker with the pages that it has alone, so that the sum is what PSS over all of them adds up
    to; a worker without a host is counted by its PSS. Pages that workers share with each other and
    not with their host, such as code that it never ran, are weighed after each load. Weights that
    several experts have mapped from one file are counted once, with the one that came first.
    """

    def __init__(self, cap_bytes: int, spare_share: float = 0.0) -> None:
        """Start empty under `cap_bytes`.

        Whoever comes to others leaves `spare_share` of the cap free, if it can: for pages that
        nobody has measured yet.
        """
        self.cap_bytes = cap_bytes
        self.spare_share = spare_share
        self.used_bytes = 0
        """Bytes reserved or measured for all experts and hosts together."""
        self._held: dict[str, int] = {}
        self._growth: dict[str, int] = {}
        self._mapped: dict[str, int] = {}
        self._hosts: dict[str, int] = {}
        self._common: dict[str, int] = {}
        self._least_common: dict[str, int] = {}
        self._most_common = 0
        self._weights: dict[str, int] = {}
        self._sharers: dict[str, list[str]] = {}
        self._model_of: dict[str, str] = {}

    @property
    def mapped_bytes(self) -> int:
        """The part of `used_bytes` that is mapped from model files, which the kernel can take back.

        It counts under the cap all the same: the cap is on what all processes have resident.
        """
        return sum(self._mapped.values())

    @property
    def room_bytes(self) -> int:
        """Bytes that experts may have at best: the cap less the hosts.

        And less what even a single worker has in common with its host, once one was there: of
        several engines the one with most, since nobody says here whose worker comes.
        """
        least = max(self._least_common.values(), default=0)
        return self.cap_bytes - sum(self._hosts.values()) - least

    @property
    def free_bytes(self) -> int:
        """Bytes left under the cap; negative when measurements went over it."""
        return self.cap_bytes - self.used_bytes

    @property
    def spare_bytes(self) -> int:
        """Bytes that whoever comes to others is to leave free, if it can.

        Pages that nobody has measured yet, and what workers had in common beyond what is counted
        now when they were over the cap together: else they would be loaded in turn without end.
        """
        counted = max(self.common_bytes, max(self._least_common.values(), default=0))
        return int(self.cap_bytes * self.spare_share) + max(0, self._most_common - counted)

    @property
    def common_bytes(self) -> int:
        """Bytes that hosts and their workers hold in common beyond what the hosts hold."""
        return sum(self._common.values())

    @property
    def promised_bytes(self) -> int:
        """Bytes that loaded experts are expected to grow by; a newcomer may not have them."""
        return sum(self._growth.values())

    def held(self, expert: str) -> int:
        """Return the bytes in the books for one expert, with those that it has for others too."""
        held = self._held.get(expert, 0)
        model = self._model_of.get(expert)
        if model is not None and self._sharers[model][0] == expert:
            held += self._weights[model]
        return held

    def own(self, expert: str) -> int:
        """Return the bytes in the books for one expert, without weights that it may share."""
        return self._held.get(expert, 0)

    def whole(self, expert: str) -> int:
        """Return the bytes of one expert with weights that it may share, whoever has them."""
        return self.own(expert) + self.shared(expert)

    def mapped(self, model: str) -> bool:
        """Tell whether somebody has this model's weights mapped, and in the books."""
        return model in self._sharers

    def shared(self, expert: str) -> int:
        """Return the bytes of weights that an expert shares, or may share, with others."""
        return self._weights.get(self._model_of.get(expert, ""), 0)

    def growth(self, expert: str) -> int:
        """Return the bytes that one expert is expected to grow by."""
        return self._growth.get(expert, 0)

    def file_bytes(self, expert: str) -> int:
        """Return the part of `held` that is mapped from files, as far as it was measured."""
        return self._mapped.get(expert, 0)

    def set(self, expert: str, size: int, growth: int = 0, mapped: int = 0) -> None:
        """Reserve, or replace what was reserved by what was measured and may still come.

        `mapped` bytes of it are a file's: the kernel can take them back, unlike the others, but
        under the cap they count like any.
        """
        self.used_bytes += size - self._held.get(expert, 0)
        self._held[expert] = size
        self._growth[expert] = growth
        self._mapped[expert] = min(mapped, size)

    def share(self, expert: str, model: str, size: int) -> None:
        """Count weights that an expert maps from a model that others may map as well."""
        if model not in self._sharers:
            self.used_bytes += size
            self._weights[model] = size
        self._sharers.setdefault(model, []).append(expert)
        self._model_of[expert] = model

    def set_host(self, engine: str, size: int) -> None:
        """Count an engine host; 0 once it is gone."""
        self.used_bytes += size - self._hosts.get(engine, 0)
        self._hosts[engine] = size
        self._least_common.pop(engine, None)  # it is another process now, or none
        self._most_common = 0

    def set_common(self, engine: str, size: int, workers: int = 0) -> None:
        """Count what a host and its workers hold in common, as far as it is more than the host.

        It goes when the workers go, and so is no loss of room, but for what a single one of
        `workers` has in common with its host: no worker is there without that. Shared weights are
        counted already.
        """
        weights = sum(self._weights[each] for each, who in self._sharers.items() if len(who) > 1)
        more = max(0, size - weights - self._hosts.get(engine, 0)) if size else 0
        self.used_bytes += more - self._common.get(engine, 0)
        self._common[engine] = more
        if workers == 1:
            self._least_common[engine] = more

    def on_overweight(self) -> None:
        """Remember what all have in common, as they are over the cap together."""
        self._most_common = max(self._most_common, self.common_bytes)

    def release(self, expert: str) -> None:
        """Strike one expert off the books: its process is gone."""
        self.used_bytes -= self._held.pop(expert, 0)
        self._growth.pop(expert, None)
        self._mapped.pop(expert, None)
        model = self._model_of.pop(expert, None)
        if model is not None:
            self._sharers[model].remove(expert)
            if not self._sharers[model]:
                del self._sharers[model]
                self.used_bytes -= self._weights.pop(model)


@dataclass(frozen=True)
class Resident:
    """A loaded expert as the governor sees it.

    `wanted` ones have requests waiting and are spared by a patient newcomer; `fresh` ones were
    loaded for those requests a moment ago, or came back right after they had left, and are spared
    by everybody. For one of `background` only background requests wait. Of one that is `leaving`
    the candidate's bytes are those that will come back.
    """

    candidate: Candidate
    busy: bool = False
    pinned: bool = False
    leaving: bool = False
    wanted: bool = False
    fresh: bool = False
    background: bool = False


class Room:
    """The books while a plan is made: what one in the line has claimed is not there for the next.

    Without claims, small experts would take, one after the other, the room that a large one waits
    for. What is free now may be taken only as far as nobody before has claimed it.
    """

    def __init__(self, ledger: Ledger, residents: Iterable[Resident]) -> None:
        """Start from what is free, and from what will be once those who leave are gone."""
        everybody = list(residents)
        self._best = ledger.room_bytes
        self._spare = ledger.spare_bytes if everybody else 0
        self._now = ledger.free_bytes - ledger.promised_bytes
        self._soon = self._now + sum(each.candidate.bytes for each in everybody if each.leaving)
        self._staying = {each.candidate.expert: each for each in everybody if not each.leaving}
        self._leaving = len(everybody) > len(self._staying)
        self._common = ledger.common_bytes
        self._claimed = False
        self._counted: dict[str, int] = {}

    def admit(
        self,
        need_bytes: int,
        *,
        patient: bool = False,
        urgent: bool = False,
        prefer: Collection[str] = (),
        own: str = "",
        own_bytes: int = 0,
    ) -> Verdict:
        """Return whether `need_bytes` fit, who must leave, for whom to wait, or why never.

        Those in `prefer`, for whom it waited before, are waited for again if they are enough:
        else two that are busy in turn would never be idle together. A parked expert that comes
        back is `own`: of what it needs it holds `own_bytes` already. For an `urgent` one nobody
        is spared for background requests, which are not answered while it waits.
        """
        others = [each for name, each in self._staying.items() if name != own]
        pinned = [each for each in others if each.pinned]
        best = self._best - sum(each.candidate.bytes for each in pinned)
        if need_bytes > best:
            names = tuple(sorted(each.candidate.expert for each in pinned))
            return Never(need_bytes, max(best, 0), names)
        more = need_bytes - own_bytes + min(self._spare, best - need_bytes)
        if more <= min(self._now, self._soon):
            return Fits()
        missing = more - self._soon
        if missing <= 0:
            return Wait()
        movable = [each for each in others if not each.pinned]
        idle = [each for each in movable if not _spared(each, patient=patient, urgent=urgent)]
        victims = choose([each.candidate for each in idle], missing)
        if victims is not None:
            self._counted = {each.expert: each.bytes for each in victims}
            return Evict(tuple(victims))
        first = prefer or [each.candidate.expert for each in idle]
        awaited = choose([each.candidate for each in movable], missing, first=first)
        if awaited is None:
            return self._empty(need_bytes, best, movable, idle)
        self._counted = {each.expert: each.bytes for each in awaited}
        return Wait(tuple(each.expert for each in awaited))

    def _empty(
        self, need_bytes: int, best: int, movable: list[Resident], idle: list[Resident]
    ) -> Verdict:
        """Return the verdict where it is not enough that all others leave who can.

        What is missing is claimed by somebody before, or is what workers have in common: that comes
        back only with the last of them, which may be the parked one itself.
        """
        if self._claimed or (self._leaving and not movable):
            return Wait()
        everybody = [leave(each.candidate) for each in movable]
        self._counted = {each.expert: each.bytes for each in everybody}
        if len(idle) < len(movable):
            return Wait(tuple(each.expert for each in everybody))
        if everybody:
            return Evict(tuple(everybody))
        if not self._staying:
            return Fits()
        names = tuple(sorted(name for name, each in self._staying.items() if each.pinned))
        if not names:
            return Evict(tuple(leave(each.candidate) for each in self._staying.values()))
        return Never(need_bytes, max(0, best - self._common), names)

    def take(self, need_bytes: int) -> None:
        """Note that these bytes are reserved from now on."""
        self._claimed = True
        self._now -= need_bytes
        self._soon -= need_bytes

    def claim(self, need_bytes: int, victims: Iterable[str]) -> None:
        """Note that somebody will need these bytes as soon as `victims` are gone.

        Each gives what the last verdict counted on, or all it has.
        """
        self._claimed = True
        for name in victims:
            gone = self._staying.pop(name, None)
            self._soon += self._counted.get(name, gone.candidate.bytes) if gone else 0
        self._soon -= need_bytes

    def on_served(self, expert: str) -> None:
        """Note that an expert, if it is loaded, has begun to answer."""
        if expert in self._staying:
            self._staying[expert] = replace(self._staying[expert], busy=True)


def overweight(ledger: Ledger, residents: Collection[Resident], spare: str = "") -> list[Victim]:
    """Return the idle ones who must leave because measurements, or a lower cap, went over it.

    That is all of them where they are not enough; those who are busy follow when they are done.
    """
    coming = sum(
        min(ledger.held(each.candidate.expert), each.candidate.bytes)
        for each in residents
        if each.leaving
    )
    missing = -ledger.free_bytes - coming
    if missing <= 0:
        return []
    # What was promised for growth is not there yet: only what they hold comes back.
    idle = [
        replace(each.candidate, bytes=ledger.held(each.candidate.expert))
        for each in residents
        if not (each.busy or each.pinned or each.leaving or each.candidate.expert == spare)
    ]
    chosen = choose(idle, missing)
    return [leave(each) for each in idle] if chosen is None else chosen


def _spared(resident: Resident, *, patient: bool, urgent: bool) -> bool:
    """Tell whether a resident may stay for now."""
    if urgent and resident.background:
        return resident.busy
    return resident.busy or resident.fresh or (patient and resident.wanted)
