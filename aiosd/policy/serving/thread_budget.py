"""One thread budget over all workers: who may use how many, and for which share of the time.

Threads that wait for each other at the end of every layer cost far more than the core they share:
two models with two threads each on two cores run at a fraction of the speed that one thread each
gives. So the sum over all workers that answer is never more than the budget, and at least one each.
"""

import math
from dataclasses import dataclass

from aiosd.policy.serving.queues import BACKGROUND_RANK

# Work that nobody waits for goes on at this share of the time while anybody else is answered.
TRICKLE = 0.1
# What another's end sets free is handed on after so long: short requests come one after the other,
# and a long one beside them must not change its threads for each.
CALM_SECONDS = 0.05
# A rest longer than forty-nine times the work before it is no pace any more.
_LEAST_DUTY = 0.02


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker may use: threads, and the share of the time (0 to 1) that it may work."""

    threads: int = 1
    duty: float = 1.0


@dataclass(slots=True)
class _Running:
    """One worker that answers: what it could use, how urgent its request is, what it was told."""

    wants: int
    rank: int
    share: Share


class ThreadBudget:
    """Who answers, and what each was told to use; `threads` are for all together.

    `cores` is how many may be busy on average, infinite where no power cap limits them.
    """

    def __init__(self, threads: int) -> None:
        """Start with nobody answering."""
        self.threads = threads
        self.cores = math.inf
        self._running: dict[str, _Running] = {}
        self._stale = False
        self._calm_at: float | None = None

    @property
    def free(self) -> bool:
        """Whether nothing but the threads limits who answers."""
        return self.cores == math.inf

    def limit(self, threads: int, cores: float) -> None:
        """Use another budget from now on; `adjust` says for whom that changes something."""
        if (threads, cores) != (self.threads, self.cores):
            self.threads, self.cores = threads, cores
            self._stale, self._calm_at = True, None

    def begin(self, expert: str, wants: int, rank: int) -> Share:
        """Let a worker answer a request of that rank, and return what it may use."""
        if not self._running and self.free:  # alone: all that it can use
            share = Share(min(wants, self.threads))
            self._running[expert] = _Running(wants, rank, share)
            return share
        mine = self._running[expert] = _Running(wants, rank, Share())
        mine.share = self._divide()[expert]
        if rank == BACKGROUND_RANK:
            mine.share = self._beside(mine.share)
        self._stale = len(self._running) > 1
        return mine.share

    def _beside(self, share: Share) -> Share:
        """Return no more than a trickle of what the others were told: they may get more later."""
        told = [each.share.duty for each in self._running.values() if each.rank < BACKGROUND_RANK]
        if not told:
            return share
        return Share(share.threads, min(share.duty, max(_LEAST_DUTY, TRICKLE * max(told))))

    def end(self, expert: str, now: float) -> None:
        """Take note that a worker is free, or gone."""
        if self._running.pop(expert, None) is not None and self._running:
            self._stale, self._calm_at = True, now + CALM_SECONDS

    def adjust(self, now: float) -> list[tuple[str, Share]]:
        """Return those who are to use another share from now on.

        Less is told at once, more only once it has been calm.
        """
        if not self._stale:
            return []
        calm = self._calm_at is None or now >= self._calm_at
        changed: list[tuple[str, Share]] = []
        later = False
        for expert, fair in self._divide().items():
            mine = self._running[expert]
            share = fair
            if not calm:
                less = min(fair.threads, mine.share.threads)
                share = Share(less, min(fair.duty, mine.share.duty))
                later = later or share != fair
            if share != mine.share:
                mine.share = share
                changed.append((expert, share))
        self._stale = later
        if not later:
            self._calm_at = None
        return changed

    def next_wake(self) -> float | None:
        """Return when `adjust` has more to give, or None."""
        return self._calm_at if self._stale else None

    def _divide(self) -> dict[str, Share]:
        """Return what each would get now: one thread, then more by rank, in turn."""
        running = self._running
        urgent = {name: each for name, each in running.items() if each.rank < BACKGROUND_RANK}
        counted = urgent or running
        threads = dict.fromkeys(running, 1)
        left = self.threads - len(counted)
        for rank in sorted({each.rank for each in counted.values()}):
            eager = [name for name, each in counted.items() if each.rank == rank]
            while left > 0 and eager:
                eager = [name for name in eager if threads[name] < running[name].wants]
                for name in eager[:left]:
                    threads[name] += 1
                left -= len(eager)
        granted = sum(threads[name] for name in counted)
        duty = min(1.0, max(_LEAST_DUTY, self.cores / granted)) if granted else 1.0
        trickle = max(_LEAST_DUTY, TRICKLE * duty)
        return {
            name: Share(threads[name], duty if name in counted else trickle) for name in running
        }
