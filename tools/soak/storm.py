"""Requests that nobody would wish for: bursts, thrashing, long prompts, cancels, early deaths."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from aiosd.domain.inputs import TextInput
from aiosd.domain.request import Options, Priority, Sampling
from aiosd.protocol.codec import decode_answer, encode
from aiosd.protocol.messages import Cancel, Chunk, End, Error, Run

# Requests that may be on their way at once; beyond it the storm waits, as the queues are bounded.
AT_ONCE = 24
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True)
class Ask:
    """One request of the storm; `cancel_after` seconds it is taken back."""

    expert: str
    words: int
    tokens: int
    deadline: float | None = None
    cancel_after: float | None = None
    dies: bool = False


@dataclass
class Tally:
    """How requests ended, by code; `lost` never ended, `abandoned` had nobody left to hear."""

    sent: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    abandoned: int = 0


class Storm:
    """One thread that asks and listens, on several connections."""

    def __init__(self, socket: Path, experts: dict[str, int], seed: int) -> None:
        """Connect; `experts` says how many tokens each takes."""
        self._address = f"ipc://{socket}"
        self._experts = experts
        self._chance = random.Random(seed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._lines = [self._dial() for _ in range(4)]
        self._numbers = itertools.count(1)
        self._open: dict[bytes, tuple[int, float]] = {}
        self._cancels: list[tuple[float, int, bytes]] = []
        self.tally = Tally()

    def blow(self, until: float) -> Iterator[None]:
        """Ask until the monotonic clock says `until`, then listen until all is answered.

        Yields now and then, for whoever reports.
        """
        asks = self._asks()
        while time.monotonic() < until:
            while len(self._open) < AT_ONCE:
                self._send(next(asks))
            self._listen(0.05)
            yield
        end = time.monotonic() + PATIENCE_SECONDS
        while self._open and time.monotonic() < end:
            self._listen(0.05)
            yield
        self.tally.lost = len(self._open)
        self._context.destroy(linger=0)

    # ── what is asked ─────────────────────────────────────────────────────────────────────────

    def _asks(self) -> Iterator[Ask]:
        """Yield requests for ever, one pattern after the other."""
        patterns = {
            self._burst: 3,
            self._thrash: 4,
            self._long: 1,
            self._taken_back: 2,
            self._late: 2,
            self._dead: 1,
        }
        while True:
            (pattern,) = self._chance.choices(list(patterns), list(patterns.values()))
            yield from pattern()

    def _burst(self) -> Iterator[Ask]:
        """Everybody at once."""
        for _ in range(self._chance.randint(8, 24)):
            yield Ask(self._any(), self._chance.randint(1, 60), self._chance.randint(1, 16))

    def _thrash(self) -> Iterator[Ask]:
        """A B A B."""
        pair = self._chance.sample(sorted(self._experts), 2)
        for _ in range(self._chance.randint(3, 8)):
            for name in pair:
                yield Ask(name, 5, 4)

    def _long(self) -> Iterator[Ask]:
        """A prompt that fills the context, after short ones: buffers grow to their full size."""
        name = self._any()
        yield Ask(name, 2, 1)
        yield Ask(name, self._experts[name] - 12, 4)

    def _taken_back(self) -> Iterator[Ask]:
        """Requests that are cancelled while they wait, load or run."""
        for _ in range(4):
            after = self._chance.uniform(0.0, 1.5)
            yield Ask(self._any(), self._chance.randint(1, 300), 200, cancel_after=after)

    def _late(self) -> Iterator[Ask]:
        """Deadlines that pass in every stage."""
        for _ in range(4):
            yield Ask(self._any(), 20, 64, deadline=self._chance.uniform(0.01, 1.0))

    def _dead(self) -> Iterator[Ask]:
        """A client that asks and is gone."""
        for _ in range(2):
            yield Ask(self._any(), 100, 64, dies=True)

    def _any(self) -> str:
        """Choose an expert; some are asked for more often than others."""
        names = sorted(self._experts)
        weights = [1 / (place + 1) for place in range(len(names))]
        return self._chance.choices(names, weights)[0]

    # ── sending and hearing ───────────────────────────────────────────────────────────────────

    def _dial(self) -> "zmq.Socket[bytes]":
        made = self._context.socket(zmq.DEALER)
        made.connect(self._address)
        return made

    def _send(self, ask: Ask) -> None:
        number = str(next(self._numbers)).encode()
        options = Options(
            sampling=Sampling(max_tokens=ask.tokens),
            deadline_seconds=ask.deadline,
            priority=self._chance.choice(list(Priority)),
            stream=self._chance.random() < 0.3,
        )
        run = Run(input=TextInput(text="e " * ask.words), expert=ask.expert, options=options)
        self.tally.sent += 1
        if ask.dies:
            line = self._dial()
            line.send_multipart([number, encode(run)])
            line.close(linger=50)
            self.tally.abandoned += 1
            return
        place = self._chance.randrange(len(self._lines))
        self._lines[place].send_multipart([number, encode(run)])
        now = time.monotonic()
        self._open[number] = (place, now)
        if ask.cancel_after is not None:
            self._cancels.append((now + ask.cancel_after, place, number))

    def _listen(self, seconds: float) -> None:
        """Hear what there is, for at most so long, and take back what is to be taken back."""
        now = time.monotonic()
        for due, place, number in [each for each in self._cancels if each[0] <= now]:
            self._cancels.remove((due, place, number))
            if number in self._open:
                self._lines[place].send_multipart([number, encode(Cancel())])
        ready, _, _ = zmq.select(self._lines, [], [], seconds)
        for line in ready:
            while line.poll(0):
                self._hear(line.recv_multipart())

    def _hear(self, frames: list[bytes]) -> None:
        answer = decode_answer(frames[1])
        if isinstance(answer, Chunk):
            return
        if self._open.pop(frames[0], None) is None:
            self.tally.ends["answered twice"] += 1
        elif isinstance(answer, End):
            self.tally.ends["answered"] += 1
        elif isinstance(answer, Error):
            self.tally.ends[answer.code] += 1
        else:
            self.tally.ends["a reply to no request"] += 1
