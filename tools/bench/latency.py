"""What the daemon adds to a warm request, beside a bare ZeroMQ relay with the same bytes.

"Added" is the round trip at the client less `usage.run_ms`: the worker's pipeline and engine. The
strict figure takes off `usage.engine_ms` only, so that pipeline steps count as added. Processors
doze off while a worker computes, and waking them takes time that a bare relay never pays: a second
relay, whose worker is busy as long as ours, shows how much. Rounds of requests alternate between
all of them and an expert in a process of its own, so that noise hits each.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import zmq

from aiosd.domain.request import Outcome
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
    busy: list[float]
    direct: list[float]


@dataclass(frozen=True)
class Ways:
    """The ways to have the same bytes answered."""

    daemon: "zmq.Socket[bytes]"
    relay: "zmq.Socket[bytes]"
    busy: "zmq.Socket[bytes]"
    direct: Direct
    busy_ms: float


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
    with Rig(folder, [subject]) as rig, Direct("serve", subject, folder) as direct:
        rig.hosts_ready()
        rig.load(subject.name)
        frames = [ID, encode(run_of(subject))]
        warm = [_exchange(rig.api, frames)[1] for _ in range(200)]
        busy = median(_outcome(header).usage.run_ms for header in warm)
        size = len(warm[-1])
        with (
            Relay(folder / "bare", size) as bare,
            Relay(folder / "busy", size, busy) as other,
        ):
            ways = Ways(rig.api, rig.dial(bare.address), rig.dial(other.address), direct, busy)
            for _ in range(200):
                _exchange(ways.relay, frames)
                _exchange(ways.busy, frames)
            direct.rounds(50)
            taken = [_round(ways, frames, requests, turn=number) for number in range(rounds)]
    return _figures(subject, taken, f"{len(frames[1])} B out, {size} B back")


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
        *(
            over(
                GROUP,
                f"{name}, added / relay with a busy worker, {label}",
                "x",
                [quantile(each.added, share) / quantile(each.busy, share) for each in taken],
                at_most=bound,
                note="its worker computes as long as ours, which is taken off",
            )
            for label, share, bound in (("p50", 0.5, MEDIAN_TARGET), ("p99", 0.99, TAIL_TARGET))
        ),
    ]


def _round(ways: Ways, frames: list[bytes], requests: int, *, turn: int) -> Round:
    """Measure each way once; who goes first changes from turn to turn."""
    sockets = [ways.daemon, ways.relay, ways.busy]
    order = [(turn + place) % len(sockets) for place in range(len(sockets))]
    answers: dict[int, list[tuple[float, bytes]]] = {
        place: [_exchange(sockets[place], frames) for _ in range(requests)] for place in order
    }
    usages = [(took, _outcome(header).usage) for took, header in answers[0]]
    return Round(
        total=[took for took, _ in answers[0]],
        added=[took - usage.run_ms for took, usage in usages],
        strict=[took - usage.engine_ms for took, usage in usages],
        relay=[took for took, _ in answers[1]],
        busy=[took - ways.busy_ms for took, _ in answers[2]],
        direct=[each * 1e3 for each in ways.direct.rounds(100)],
    )


def _outcome(header: bytes) -> Outcome:
    answer = decode_answer(header)
    if not isinstance(answer, End):
        raise TypeError(f"not an answer: {answer}")
    return answer.outcome


def _exchange(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> tuple[float, bytes]:
    """Send and wait; return the milliseconds and the header that came back."""
    begun = time.perf_counter()
    socket.send_multipart(frames)
    answer = socket.recv_multipart()
    return (time.perf_counter() - begun) * 1e3, answer[1]
