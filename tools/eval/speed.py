"""How long a whole decision takes, record included, and what thousands of packages cost."""

import contextlib
import gc
import itertools
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aiosd.client import Client
from aiosd.daemon.routing import Routing
from aiosd.domain.errors import AiosdError
from aiosd.domain.inputs import InputType, TextInput
from aiosd.domain.request import Options
from aiosd.policy.memory.governor import Ledger
from aiosd.policy.routing.head import Head
from aiosd.policy.routing.route_facts import RouteFacts
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.rules import SchedulerRules
from aiosd.policy.serving.scheduler import Scheduler
from aiosd.protocol.messages import Run
from aiosd.sensors.memory import read_process
from tools.eval.figures import Row, plain
from tools.eval.sets import Clinc, draw
from tools.eval.text import make_head

PACKAGES = 2000
PASSES = 5
MANIFEST = """\
name = "{name}"
release = 1
summary = "Made up, number {number}"
licence = "MIT"
task = "echo"

[engine]
name = "echo"

[input]
type = "text"

[needs]
ram_bytes = 1000000

[routing]
utterances = [
{texts}
]
"""


class _Free:
    """Energy that is not looked at."""

    frugal = False

    def predict(self, expert: str) -> float | None:
        """Return what an answer takes."""
        del expert

    def admit(self, request: int, expert: str, *, background: bool) -> None:
        """Let everything begin."""

    def started(self, request: int, expert: str, client: str) -> None:
        """Take no note."""

    def ended(self, request: int, cpu_seconds: float | None = None, units: float = 0.0) -> None:
        """Know nothing."""
        del request, cpu_seconds, units


class _Shelf:
    """What is installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.routes = {
            name: RouteFacts(name, "text.classify", InputType.TEXT, 65_536) for name in names
        }


def router(head: Head) -> Routing:
    """Return the daemon's router over made-up loaded experts, one for each that the head knows."""
    names = sorted(head.experts)
    scheduler = Scheduler(Ledger(10**12), SchedulerRules())
    scheduler.on_catalogue([ExpertFacts(name, 1000) for name in names], [], 0.0)
    made = Routing(scheduler, _Shelf(names), _Free(), time.monotonic)
    made.head = head
    return made


def timed(routing: Routing, texts: Sequence[str], *, explain: bool) -> list[list[float]]:
    """Return the seconds of each pass over the texts."""
    runs = [
        (Run(input=TextInput(text=text), options=Options(explain=explain)), len(text.encode()))
        for text in texts
    ]
    passes = []
    gc.collect()
    gc.freeze()  # as the daemon does once it is ready; else all that we hold is walked again
    for _ in range(PASSES):
        took = []
        for run, size in runs:
            start = time.perf_counter()
            with contextlib.suppress(AiosdError):
                routing.pick(run, size)
            took.append(time.perf_counter() - start)
        passes.append(took)
    gc.unfreeze()
    return passes


def rows_of(name: str, passes: list[list[float]], limits: tuple[float, float]) -> Iterator[Row]:
    """Yield median and 99th percentile, as they came and as the quietest pass of each text."""
    load = f"val, load {os.getloadavg()[0]:.1f}"
    took = np.array(passes) * 1e6
    for what, sample in (("as they came", took.ravel()), ("quietest of 5", took.min(axis=0))):
        half, most = np.percentile(sample, [50, 99])
        yield plain(f"{name}, {what}: p50 µs", float(half), load, sample.size, limits[0])
        yield plain(f"{name}, {what}: p99 µs", float(most), load, sample.size, limits[1])


def decisions(clinc: Clinc) -> Iterator[Row]:
    """Yield the time of a decision among ten experts, short and long texts, explained or not."""
    head = make_head(draw(clinc.train, 75, 1), clinc.oos_train, parts=False)
    routing = router(head)
    texts = [row.text for row in clinc.val[::5]]
    yield from rows_of("10 experts", timed(routing, texts, explain=False), (150, 1000))
    yield from rows_of("10 experts, with n-grams", timed(routing, texts, explain=True), (150, 1000))
    # Every core computes for workers, which are 5 nicer than the daemon (aiosd.worker.confine), or
    # for strangers, which are not.
    for who, nice in (("workers", 5), ("strangers", 0)):
        with busy(os.cpu_count() or 1, nice):
            passes = timed(routing, texts, explain=False)
        yield from rows_of(f"10 experts, all cores busy with {who}", passes, (150, 1000))
    long = [f"{one} {other}" * 5 for one, other in itertools.pairwise(texts)][:200]
    yield from rows_of("10 experts, long", timed(routing, long, explain=True), (150, 1000))


@contextlib.contextmanager
def busy(count: int, nice: int) -> Iterator[None]:
    """Keep so many processes computing."""
    work = f"import os\nos.nice({nice})\nwhile True: sum(range(10_000))"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", work]))
            stack.callback(process.kill)
        wait(0.5)
        yield


def word(number: int) -> str:
    """Return a word of letters for each number; digits would all be the same to the router."""
    return "".join(chr(ord("a") + number * 7919 // 26**place % 26) for place in range(6))


def made_up(clinc: Clinc, count: int, folder: Path, start: int = 0) -> None:
    """Write packages: each speaks of a thing of its own in twenty sentences of CLINC150."""
    chance = np.random.default_rng(7)
    frames = [row.text for row in clinc.train]
    for number in range(start, start + count):
        name = f"made-up-{number:04d}"
        thing = word(number)
        drawn = [frames[place] for place in chance.integers(0, len(frames), 20)]
        texts = "\n".join(f'  "{text.replace(chr(34), "")} {thing}",' for text in drawn)
        (folder / name).mkdir(parents=True)
        manifest = MANIFEST.format(name=name, number=number, texts=texts.replace("\\", ""))
        (folder / name / "expert.toml").write_text(manifest, encoding="utf-8")


def many_packages(clinc: Clinc, count: int = PACKAGES) -> Iterator[Row]:
    """Yield what so many packages cost: start, memory, one more."""
    with tempfile.TemporaryDirectory(prefix="aiosd-eval-") as scratch:
        root = Path(scratch)
        empty = _Daemon(root / "empty")
        empty.start()
        bare = empty.pss()
        empty.stop()
        full = _Daemon(root / "full")
        made_up(clinc, count, full.experts)
        first = full.start()
        full.wait_for_head()
        full.stop()
        split = f"{count} made-up packages"
        yield plain("many: ready, first start, s", first, split, 1)
        yield plain("many: ready, warm cache, s", full.start(), split, 1, 1.5)
        full.wait_for_head()
        yield plain("many: PSS over an empty daemon, MB", (full.pss() - bare) / 1e6, split, 1, 60)
        texts = [row.text for row in clinc.val[:400]]
        took = full.ask([f"{text} {word(place)}" for place, text in enumerate(texts)])
        yield plain("many: decision p50 µs", float(np.percentile(took, 50)), split, len(took))
        yield plain("many: decision p99 µs", float(np.percentile(took, 99)), split, len(took), 2000)
        made_up(clinc, 1, full.experts, count)
        with Client(full.sockets) as client:
            start = time.monotonic()
            client.reload()
            told = time.monotonic() - start
        yield plain("many: one more, listed after, s", told, split, 1, 2.0)
        full.wait_for_head()
        yield plain("many: one more, heard after, s", time.monotonic() - start, split, 1, 2.0)
        full.stop()


class _Daemon:
    """A daemon of its own folders."""

    def __init__(self, root: Path) -> None:
        self.experts, self.state, self.sockets = (
            root / each for each in ("experts", "state", "run")
        )
        for each in (self.experts, self.state):
            each.mkdir(parents=True)
        self._config = root / "aiosd.toml"
        self._log = root / "log"
        self._config.write_text(
            f'[paths]\nexperts = ["{self.experts}"]\nstate = "{self.state}"\n'
            f'sockets = "{self.sockets}"\n[engines]\nstart_hosts = false\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it, and return the seconds until it answers."""
        begun = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aiosd.daemon", "--config", str(self._config)], stderr=log
            )
        while not (self.sockets / "api.sock").exists():
            if self._process.poll() is not None:
                raise SystemExit(f"the daemon did not start:\n{self._log.read_text()}")
            wait(0.005)
        with Client(self.sockets, timeout_seconds=60) as client:
            client.ping()
        return time.monotonic() - begun

    def wait_for_head(self) -> None:
        """Wait until no head is being made."""
        with Client(self.sockets) as client:
            for _ in range(600):
                told = client.status()["routing"]
                if isinstance(told, dict) and not told["learning"]:
                    return
                wait(0.1)
        raise SystemExit(f"no head after a minute:\n{self._log.read_text()}")

    def pss(self) -> int:
        """Return its memory in bytes."""
        memory = read_process(self._process.pid) if self._process else None
        return memory.pss_bytes if memory else 0

    def ask(self, texts: Sequence[str]) -> list[float]:
        """Return the microseconds of explained decisions, as the daemon says them."""
        took = []
        with Client(self.sockets) as client:
            for text in texts:
                decision = client.explain(text)["decision"]
                if isinstance(decision, dict):
                    took.append(float(decision["micros"]))
        return took

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)


def wait(seconds: float) -> None:
    """Wait."""
    select.select([], [], [], seconds)
