"""What the daemon takes with nothing to do (memory, time, wake-ups), and how soon it is ready.

PSS counts a page that n processes share as 1/n of it, so it depends on which other Python
processes run; what the daemon has alone (`own`) and its whole resident size are printed beside it.
"""

import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from aiosd.sensors.memory import read_process
from tools.bench.figures import Figure, over, skipped
from tools.bench.rig import Rig
from tools.bench.subjects import bundled

GROUP = "idle"
PSS_MIB, CORE_PERCENT, START_SECONDS = 30.0, 0.2, 0.5
# A watch over deadlines or idle experts may wake it now and then; polling would do it all along.
WAKES_PER_MINUTE = 6.0
MIB = 1 << 20


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return memory, processor time and wake-ups of a daemon with the bundled experts."""
    subjects = bundled()
    if not subjects:
        return [skipped(GROUP, "daemon", "no expert is bundled")]
    starts, figures = [], []
    seconds = 10.0 if quick else 60.0
    for number in range(3 if quick else 9):
        with Rig(folder / f"start{number}", subjects) as rig:
            starts.append(rig.start_seconds)
    figures.append(
        over(
            "start",
            f"exec to READY, {len(subjects)} experts",
            "s",
            starts,
            at_most=START_SECONDS,
        )
    )
    with Rig(folder / "idle", subjects) as rig:
        hosts = rig.hosts_ready()
        time.sleep(2.0)
        figures += _memory(rig.pid)
        for host in hosts:
            pid, engine = int(str(host["pid"])), host["engine"]
            memory = read_process(pid)
            if memory is not None:
                note = f"{memory.own_bytes / MIB:.1f} MiB its own"
                pss = memory.pss_bytes / MIB
                figures.append(Figure(GROUP, f"host {engine}, PSS", "MiB", pss, note=note))
        figures += _rest(rig.pid, seconds, "nothing loaded")
        rig.load(subjects[0].name)
        time.sleep(2.0)
        figures += _rest(rig.pid, seconds / 2, "one expert loaded")
    return figures


def _memory(pid: int) -> list[Figure]:
    memory = read_process(pid)
    if memory is None:
        return [skipped(GROUP, "memory", "the process cannot be read")]
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    resident = int(pages[1]) * 4096 / MIB
    note = f"{memory.own_bytes / MIB:.1f} MiB its own, {resident:.1f} MiB resident"
    pss = memory.pss_bytes / MIB
    return [Figure(GROUP, "daemon, PSS", "MiB", pss, at_most=PSS_MIB, note=note)]


def _rest(pid: int, seconds: float, what: str) -> list[Figure]:
    """Watch the daemon do nothing."""
    before = [_spent(pid)]
    for _ in range(3):
        time.sleep(seconds / 3)
        before.append(_spent(pid))
    parts = [
        ((later[0] - sooner[0]) / (later[2] - sooner[2]) * 100, later[1] - sooner[1])
        for sooner, later in pairwise(before)
    ]
    shares = [share for share, _ in parts]
    wakes = sum(count for _, count in parts) * 60 / (before[-1][2] - before[0][2])
    return [
        Figure(
            GROUP,
            f"{what}, share of a core",
            "%",
            sum(shares) / len(shares),
            min(shares),
            max(shares),
            at_most=CORE_PERCENT,
            note=f"over {seconds:.0f} s",
        ),
        Figure(
            GROUP,
            f"{what}, wake-ups",
            "per min",
            wakes,
            at_most=WAKES_PER_MINUTE,
            note=f"all threads, median of thirds {median(count for _, count in parts):.0f}",
        ),
    ]


def _spent(pid: int) -> tuple[float, int, float]:
    """Return the processor seconds and voluntary switches of all threads so far, and the time."""
    ran, switches = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        ran += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        for line in (task / "status").read_text(encoding="ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return ran, switches, time.monotonic()
