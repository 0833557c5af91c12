"""A new release under load: how many requests are lost, answered twice, or slower than before.

`python -m tools.bench.swap`: real daemon, real workers, a bundled expert asked 200 times a second
on a fixed schedule. After a steady time a new release of it comes (the same model under another
number, staged as the updater stages), is probed, answers its canary and is swapped in.

`--stalls` also says what kept the daemon's loop for over a millisecond. Where RAM has no room for
two, one leaves for the other and requests wait: `--expert home-command --rate 20 --cap "60 MiB"`.
"""

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from aiosd.domain.rollout import Rollout, State
from aiosd.protocol.codec import decode_answer, encode
from aiosd.protocol.messages import End, Rollouts, Staged
from aiosd.protocol.release_json import encode_release
from aiosd.store.layout import Layout
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases
from tools.bench.machine import describe, sentence
from tools.bench.rig import Rig, run_of
from tools.bench.stalls import Stall, read
from tools.bench.subjects import Subject, bundled

CANARY = 100
# How much slower the slowest hundredth may be during a swap. A swap lasts about a second, so that
# its own p99 is nearly its slowest request; that of all swaps together says more.
LIMIT = 3.0
# So many of what kept the loop are shown.
SHOWN = 8
PATIENCE_SECONDS = 60.0


@dataclass
class Asked:
    """One request: when it was sent, and every answer with its delay and release."""

    sent: float
    delays: list[float] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)
    failure: str = ""


def main() -> int:
    """Measure and print; the exit status is 1 if a request was lost or answered twice."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.swap", description=__doc__)
    parser.add_argument("--expert", default="sms-spam", help="which bundled expert")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="steady seconds before")
    parser.add_argument("--swaps", type=int, default=3, help="releases, one after the other")
    parser.add_argument(
        "--stalls",
        action="store_true",
        help="say what kept the daemon's loop for over a millisecond; watching costs a little",
    )
    parser.add_argument("--cap", default="512 MiB", help="the RAM cap")
    options = parser.parse_args()
    print(sentence(describe()))
    subject = next(each for each in bundled() if each.name == options.expert)
    with tempfile.TemporaryDirectory(prefix="aiosd-swap-") as place:
        notes = Path(place) / "stalls"
        program = ("tools.bench.stalls", str(notes)) if options.stalls else ("aiosd.daemon",)
        rig = Rig(Path(place), [subject], cap=options.cap, program=program)
        with rig.settings.open("a", encoding="utf-8") as file:
            # One client sends them all: what waits is to wait, and not to be refused.
            file.write("[queue]\nper_client = 10000\ntotal = 10000\n")
            file.write(f"[rollout]\ncanary_requests = {CANARY}\n")
        with rig:
            rig.load(subject.name)
            rig.hosts_ready()
            return _measure(rig, subject, options, notes)


def _measure(rig: Rig, subject: Subject, options: argparse.Namespace, notes: Path) -> int:
    """Swap as often as asked, and say how all of it went; return the exit status."""
    layout = Layout(experts=(rig.folder / "experts",), state=rig.folder / "state")
    stream = Stream(rig, subject, options.rate)
    bad = 0
    pool = Pool()
    for number in range(options.swaps):
        release = subject.manifest.release + number + 1
        began = time.perf_counter()
        steady = stream.during(lambda began: time.perf_counter() - began > options.seconds)
        stage(layout, subject, release)
        staged = time.perf_counter()
        rig.admin.send_multipart([b"staged", encode(Staged(expert=subject.name, release=release))])
        told = Watch(rig, subject.name, release)
        swap = stream.during(told.done)
        done = time.perf_counter()
        after = stream.during(lambda began: time.perf_counter() - began > 2.0)
        stream.finish()
        everything = [*steady, *swap, *after]
        lost = sum(not each.delays for each in everything)
        twice = sum(len(each.delays) > 1 for each in everything)
        failed = [each.failure for each in everything if each.failure]
        bad += lost + twice + len(failed)
        row = told.row
        print(
            f"release {release}: {row['state']} {row['reason']}; {len(everything)} requests, "
            f"{lost} lost, {twice} answered twice, {len(failed)} failed {failed[:1]}"
        )
        print(
            f"  p50/p99/max ms: steady {_spread(steady)}, during the swap {_spread(swap)}; "
            f"p99 × {pool.add(steady, swap):.2f}; held {row['hold_ms']:.1f} ms; "
            f"probe {row['report']}"
        )
        if options.stalls:
            _show("before", read(notes, began, staged))
            _show("during the swap", read(notes, staged, done))
    pool.show()
    return 1 if bad else 0


@dataclass
class Pool:
    """The requests of all swaps together."""

    steady: list[Asked] = field(default_factory=list)
    swaps: list[Asked] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def add(self, steady: list[Asked], swap: list[Asked]) -> float:
        """Take in one swap; return how much slower its slowest hundredth was."""
        self.steady += steady
        self.swaps += swap
        self.ratios.append(percentile(swap, 0.99) / percentile(steady, 0.99))
        return self.ratios[-1]

    def show(self) -> None:
        """Print what all of it comes to."""
        calm, busy = percentile(self.steady, 0.99), percentile(self.swaps, 0.99)
        over = sum(each > LIMIT for each in self.ratios)
        print(
            f"all swaps: p99 of {len(self.steady)} steady requests {calm:.2f} ms, of "
            f"{len(self.swaps)} during swaps {busy:.2f} ms: × {busy / calm:.2f}; of each swap "
            f"× {statistics.median(self.ratios):.2f} (median), {over} of {len(self.ratios)} "
            f"over {LIMIT:g}"
        )


def _spread(asked: list[Asked]) -> str:
    """Return median, slowest hundredth and slowest in milliseconds, and how many there were."""
    p50, p99, most = (percentile(asked, share) for share in (0.5, 0.99, 1.0))
    return f"{p50:.2f}/{p99:.2f}/{most:.2f} ({len(asked)})"


def _show(when: str, stalls: list[Stall]) -> None:
    """Print what kept the loop longest."""
    if not stalls:
        print(f"  loop {when}: nothing over a millisecond")
    for each in stalls[:SHOWN]:
        print(
            f"  loop {when}: {each.cpu_ms:.2f} ms of the processor, {each.ms:.2f} ms in all: "
            f"{each.what}"
        )


class Stream:
    """Requests on a fixed schedule, whatever becomes of those before."""

    def __init__(self, rig: Rig, subject: Subject, rate: float) -> None:
        """Send nothing yet."""
        self._socket = rig.api
        self._message = encode(run_of(subject))
        self._gap = 1.0 / rate
        self._asked: dict[bytes, Asked] = {}

    def during(self, done: Callable[[float], bool]) -> list[Asked]:
        """Ask until `done`, which is called with the time of the beginning; return what was."""
        began = due = time.perf_counter()
        found = []
        while not done(began):
            now = time.perf_counter()
            if now >= due:
                ident = str(len(self._asked)).encode()
                asked = self._asked[ident] = Asked(now)
                self._socket.send_multipart([ident, self._message])
                found.append(asked)
                due = max(due + self._gap, now - 1.0)
            self._listen(max(0.0, due - time.perf_counter()))
        return found

    def finish(self) -> None:
        """Wait for the answers that are still to come, and a moment for those that should not."""
        end = time.perf_counter() + PATIENCE_SECONDS
        while time.perf_counter() < end and any(not a.delays for a in self._asked.values()):
            self._listen(0.1)
        self._listen(0.2)

    def _listen(self, seconds: float) -> None:
        """Take what comes within so many seconds."""
        if not self._socket.poll(int(seconds * 1e3)):
            return
        while self._socket.poll(0):
            ident, header = self._socket.recv_multipart(zmq.NOBLOCK)
            now, answer = time.perf_counter(), decode_answer(header)
            asked = self._asked[ident]
            asked.delays.append(now - asked.sent)
            if isinstance(answer, End):
                asked.releases.append(answer.outcome.release)
            else:
                asked.failure = str(answer)


class Watch:
    """Asks four times a second how far a release is."""

    def __init__(self, rig: Rig, name: str, release: int) -> None:
        """Ask nothing yet."""
        self._socket, self._name, self._release = rig.admin, name, release
        self._due = 0.0
        self.row: dict[str, object] = {}

    def done(self, began: float) -> bool:
        """Tell whether it has come to an end."""
        now = time.perf_counter()
        while self._socket.poll(0):
            body = getattr(decode_answer(self._socket.recv_multipart()[1]), "body", {})
            for row in body.get("rollouts", ()):
                if (row["expert"], row["release"]) == (self._name, self._release):
                    self.row = row
        if now > self._due:
            self._due = now + 0.25
            self._socket.send_multipart([b"look", encode(Rollouts())])
        if now - began > PATIENCE_SECONDS:
            raise RuntimeError(f"the release never came to an end: {self.row}")
        return self.row.get("state") in ("collected", "quarantined")


def stage(layout: Layout, subject: Subject, release: int) -> None:
    """Do what the updater does with a release, up to its row in the ledger."""
    package = tomllib.loads((subject.folder / "expert.toml").read_text(encoding="utf-8"))
    package |= {"release": release}
    del package["files"]
    files = []
    releases = Releases(layout)
    for each in subject.manifest.files:
        data = (subject.folder / each.path).read_bytes()
        releases.blobs.put(subject.folder / each.path, each.sha256, each.size)
        files.append(
            {"path": each.path, "size": len(data), "sha256": each.sha256, "role": each.role}
        )
    made = encode_release(
        {
            "format": 1,
            "name": subject.name,
            "release": release,
            "created": "2026-01-01T00:00:00Z",
            "licence": package["licence"],
            "package": package,
            "files": files,
        }
    )
    releases.stage(made)
    ledger = Ledger(layout.ledger)
    ledger.put(
        Rollout(
            name=subject.name,
            release=release,
            sha256=hashlib.sha256(made).hexdigest(),
            state=State.STAGED,
            since=time.time(),
            deadline=time.time() + 3600,
            old_release=releases.active(subject.name) or 0,
        )
    )
    ledger.close()


def percentile(asked: list[Asked], share: float) -> float:
    """Return a percentile of the delays in milliseconds."""
    delays = sorted(_delays(asked))
    return delays[min(len(delays) - 1, int(share * len(delays)))] * 1e3 if delays else 0.0


def _delays(asked: list[Asked]) -> Iterator[float]:
    for each in asked:
        yield from each.delays[:1]


if __name__ == "__main__":
    sys.exit(main())
