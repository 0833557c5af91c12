"""The CPU time that each worker has spent since somebody last asked."""

from collections.abc import Callable, Iterable

from aiosd.sensors.process_time import read_cpu_seconds

Pids = Callable[[], Iterable[tuple[str, int]]]


class WorkerTimes:
    """Remembers where each worker's clock stood."""

    def __init__(self, pids: Pids) -> None:
        """Ask `pids` for the process of each loaded expert."""
        self._pids = pids
        self._seen: dict[str, tuple[int, float]] = {}

    def take(self) -> tuple[tuple[str, float], ...]:
        """Return the CPU seconds of each worker since the last call, or since it was started."""
        news: dict[str, tuple[int, float]] = {}
        spent: list[tuple[str, float]] = []
        for expert, pid in self._pids():
            seconds = read_cpu_seconds(pid)
            if seconds is None:
                continue
            before = self._seen.get(expert)
            base = before[1] if before is not None and before[0] == pid else 0.0
            news[expert] = (pid, seconds)
            spent.append((expert, max(0.0, seconds - base)))
        self._seen = news
        return tuple(spent)
