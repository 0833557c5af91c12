"""Whether an expert fits the RAM cap: the books, and the verdict before a load.

Reserve, then load, then reconcile (as TensorFlow Serving's ResourceTracker does): an expert's
estimated need is in the books before its worker starts, so that two loads at once cannot both
"fit"; what was measured replaces it as soon as it is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aiosd.policy.eviction import Candidate, Eviction


@dataclass(frozen=True)
class Fits:
    """There is room."""


@dataclass(frozen=True)
class Evict:
    """There is room once these have left."""

    victims: tuple[Candidate, ...]


@dataclass(frozen=True)
class Wait:
    """There will be room once somebody who is busy is done."""


@dataclass(frozen=True)
class Never:
    """There is no way to make room: need, what could be had at best, and who is in the way."""

    need_bytes: int
    best_bytes: int
    pinned: tuple[str, ...]


Verdict = Fits | Evict | Wait | Never


class Ledger:
    """Bytes held per expert against one cap, beside what the engine hosts take of it.

    A forked worker shares most of its pages with its host. The host is counted whole, and each
    worker with the pages that it has alone, so that the sum is what PSS over all of them adds up
    to; a worker without a host is counted by its PSS.
    """

    def __init__(self, cap_bytes: int) -> None:
        """Start empty under `cap_bytes`."""
        self.cap_bytes = cap_bytes
        self._held: dict[str, int] = {}
        self._hosts: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes reserved or measured for all experts and hosts together."""
        return sum(self._held.values()) + sum(self._hosts.values())

    @property
    def room_bytes(self) -> int:
        """Bytes that experts may have at best: the cap less the hosts."""
        return self.cap_bytes - sum(self._hosts.values())

    @property
    def free_bytes(self) -> int:
        """Bytes left under the cap; negative when measurements went over it."""
        return self.cap_bytes - self.used_bytes

    def held(self, expert: str) -> int:
        """Return the bytes in the books for one expert."""
        return self._held.get(expert, 0)

    def set(self, expert: str, size: int) -> None:
        """Reserve, or replace what was reserved by what was measured."""
        self._held[expert] = size

    def set_host(self, engine: str, size: int) -> None:
        """Count an engine host; 0 once it is gone."""
        self._hosts[engine] = size

    def release(self, expert: str) -> None:
        """Strike one expert off the books: its process is gone."""
        self._held.pop(expert, None)


@dataclass(frozen=True)
class Resident:
    """A loaded expert as the governor sees it."""

    candidate: Candidate
    busy: bool
    pinned: bool
    leaving: bool


def admit(
    need_bytes: int, ledger: Ledger, residents: Sequence[Resident], eviction: Eviction
) -> Verdict:
    """Return whether `need_bytes` fit, who must leave, whether to wait, or why never."""
    missing = need_bytes - ledger.free_bytes
    if missing <= 0:
        return Fits()
    pinned = [each for each in residents if each.pinned and not each.leaving]
    best = ledger.room_bytes - sum(each.candidate.bytes for each in pinned)
    if need_bytes > best:
        names = tuple(sorted(each.candidate.expert for each in pinned))
        return Never(need_bytes, max(best, 0), names)
    coming = sum(each.candidate.bytes for each in residents if each.leaving)
    if coming >= missing:
        return Wait()
    idle = [each for each in residents if not (each.busy or each.pinned or each.leaving)]
    victims = eviction.choose([each.candidate for each in idle], missing - coming)
    return Evict(tuple(victims)) if victims is not None else Wait()
