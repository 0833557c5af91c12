"""What the daemon adds to a warm request, beside a bare ZeroMQ relay with the same bytes.

"Added" is the round trip at the client less `usage.run_ms`: the worker's pipeline and engine. The
strict figure takes off `usage.engine_ms` only, so that pipeline steps count as added. Rounds of
requests alternate between daemon, relay and an in-process expert, so that noise hits all three.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import zmq

from aiosd.protocol.codec import decode_answer, encode
from aiosd.protocol.messages import End
from tools.bench.direct import Direct
from tools.bench.figures import Figure, over, quantile, skipped
from tools.bench.relay import Relay
from tools.bench.rig import Rig, run_of
from tools.bench.subjects import Subject, bundled, keyword

GROUP = "latency"
MEDIAN_TARGET, TAIL_TARGET = 1.25, 1.5
ID = b"12345678"


@dataclass(frozen=True)
class Round:
    """One round of requests; milliseconds each."""

    total: list[float]
    added: list[float]
    strict: list[float]
    relay: list[float]
    direct: list[float]


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of every warm expert that is at hand."""
    text = [each for each in bundled() if each.manifest.task.value == "text.classify"]
    subjects = [each for each in (keyword(folder / "made"), *text[:1]) if each is not None]
    if not subjects:
        return [skipped(GROUP, "warm request", "no TFLite expert at hand")]
    figures: list[Figure] = []
    for subject in subjects:
        figures += _one(folder / subject.name, subject, rounds=4 if quick else 15)
    return figures


def _one(folder: Path, subject: Subject, *, rounds: int, requests: int = 400) -> list[Figure]:
    with Rig(folder, [subject]) as rig:
        rig.hosts_ready()
        rig.load(subject.name)
        frames = [ID, encode(run_of(subject))]
        reply = _exchange(rig.api, frames)[1]
        with Relay(folder, len(reply)) as relay, Direct("serve", subject, folder) as direct:
            other = rig.connect("api")
            other.disconnect(other.getsockopt_string(zmq.LAST_ENDPOINT))
            other.connect(relay.address)
            for _ in range(200):
                _exchange(rig.api, frames)
                _exchange(other, frames)
            direct.rounds(50)
            taken = [
                _round(rig.api, other, direct, frames, requests if number % 2 else -requests)
                for number in range(rounds)
            ]
    sizes = f"{len(frames[1])} B out, {len(reply)} B back"
    return _figures(subject, taken, sizes)


def _figures(subject: Subject, taken: list[Round], sizes: str) -> list[Figure]:
    name = subject.name

    def ratio(values: Callable[[Round], list[float]], share: float) -> list[float]:
        return [quantile(values(each), share) / quantile(each.relay, share) for each in taken]

    def level(values: Callable[[Round], list[float]], share: float) -> list[float]:
        return [quantile(values(each), share) for each in taken]

    return [
        over(GROUP, f"{name}, relay, p50", "ms", level(lambda each: each.relay, 0.5), note=sizes),
        over(GROUP, f"{name}, relay, p99", "ms", level(lambda each: each.relay, 0.99)),
        over(GROUP, f"{name}, daemon round trip, p50", "ms", level(lambda each: each.total, 0.5)),
        over(GROUP, f"{name}, in-process, p50", "ms", level(lambda each: each.direct, 0.5)),
        over(
            GROUP,
            f"{name}, round trip less in-process, p50",
            "ms",
            [median(each.total) - median(each.direct) for each in taken],
        ),
        over(GROUP, f"{name}, added, p50", "ms", level(lambda each: each.added, 0.5)),
        over(GROUP, f"{name}, added, p99", "ms", level(lambda each: each.added, 0.99)),
        over(
            GROUP,
            f"{name}, added / relay, p50",
            "x",
            ratio(lambda each: each.added, 0.5),
            at_most=MEDIAN_TARGET,
        ),
        over(
            GROUP,
            f"{name}, added / relay, p99",
            "x",
            ratio(lambda each: each.added, 0.99),
            at_most=TAIL_TARGET,
        ),
        over(
            GROUP,
            f"{name}, strict / relay, p50",
            "x",
            ratio(lambda each: each.strict, 0.5),
            note="only the engine's own time taken off",
        ),
    ]


def _round(
    daemon: "zmq.Socket[bytes]",
    relay: "zmq.Socket[bytes]",
    direct: Direct,
    frames: list[bytes],
    requests: int,
) -> Round:
    """Measure daemon, relay and in-process; a negative number turns the first two around."""
    passed: list[float] = []
    if requests < 0:
        passed = [_exchange(relay, frames)[0] for _ in range(-requests)]
    answers = [_exchange(daemon, frames) for _ in range(abs(requests))]
    if requests > 0:
        passed = [_exchange(relay, frames)[0] for _ in range(requests)]
    total, added, strict = [], [], []
    for took, header in answers:
        answer = decode_answer(header)
        if not isinstance(answer, End):
            raise TypeError(f"not an answer: {msgspec.to_builtins(answer)}")
        usage = answer.outcome.usage
        total.append(took)
        added.append(took - usage.run_ms)
        strict.append(took - usage.engine_ms)
    own = [each * 1e3 for each in direct.rounds(100)]
    return Round(total, added, strict, passed, own)


def _exchange(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> tuple[float, bytes]:
    """Send and wait; return the milliseconds and the header that came back."""
    begun = time.perf_counter()
    socket.send_multipart(frames)
    answer = socket.recv_multipart()
    return (time.perf_counter() - begun) * 1e3, answer[1]
