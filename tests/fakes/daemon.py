"""A small daemon on real sockets: speaks aiosd.protocol, answers by what the text says.

Texts: "hold …" is never answered until it is cancelled, "fail …" fails, "busy …" is refused,
"stuck …" gives one piece and then nothing; anything else comes back, word by word if streamed.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
import zmq

from aiosd.domain.errors import (
    AiosdError,
    BusyError,
    CancelledError,
    ExpertFailedError,
    ForbiddenError,
    UnknownExpertError,
)
from aiosd.domain.inputs import TextInput, attachment_index, type_of
from aiosd.domain.request import Outcome, Usage
from aiosd.protocol import messages
from aiosd.protocol.codec import Envelope, decode, encode, message_id

ECHO = {
    "name": "echo",
    "release": 1,
    "task": "echo",
    "summary": "Gives back what it gets.",
    "engine": "echo",
    "input": "text",
    "state": "ready",
    "pinned": False,
    "size_bytes": 12_345,
    "need_bytes": 3_145_728,
}
PROCESS = {
    "name": "echo",
    "release": 1,
    "state": "ready",
    "pid": 4242,
    "engine": "echo 1",
    "ram_bytes": 5_242_880,
    "private_bytes": 1_048_576,
    "need_bytes": 3_145_728,
    "since_seconds": 75.0,
    "idle_seconds": 3.2,
    "requests": 7,
    "queue": 0,
    "pinned": True,
    "confinement": ["no-new-privileges", "rlimits"],
}
REFUSED = {"path": "/var/lib/aiosd/experts/bad", "reason": "expert.toml:3: unknown field `nam`"}
STATUS: dict[str, object] = {
    "version": "0.1.0",
    "uptime_seconds": 3725.0,
    "board": "generic",
    "profile_reason": "no other profile matches this machine",
    "ram_cap_bytes": 536_870_912,
    "ram_cap_reason": "60 % of MemAvailable at start",
    "ram_used_bytes": 5_242_880,
    "ram_free_bytes": 531_628_032,
    "enforced_by": "aiosd's own books",
    "queue": 0,
    "requests": {"answered": 7, "failed": 1},
    "evictions": 0,
    "parkings": 0,
    "config_path": "/etc/aiosd/aiosd.toml",
    "engines": {"echo": "echo 1"},
}
DECISION: dict[str, object] = {
    "id": 7,
    "winner": "echo",
    "why": "may be meant for it (0.61), the most useful of 2",
    "removed": [
        {"expert": "big", "reason": "ram", "found": 900.0, "limit": 500.0},
        {"expert": "cats", "reason": "input_type", "found": "image", "limit": "text"},
    ],
    "survivors": [
        {
            "expert": "echo",
            "part": "loud",
            "probability": 0.61,
            "ok": 0.9,
            "ready": True,
            "need_bytes": 3_145_728,
            "seconds": 0.0021,
            "joules": 0.5,
            "utility": 0.544,
        }
    ],
    "gates": [
        {"name": "scope", "value": 2.5, "threshold": -0.9, "passed": True},
        {"name": "sure", "value": 0.61, "threshold": 0.84, "passed": False},
    ],
    "nearest": [{"expert": "echo", "part": "loud", "probability": 0.61}],
    "grams": [{"gram": " ech", "weight": 0.21}],
    "head": "0123",
    "micros": 84.2,
    "actual": {"seconds": 0.0019, "ok": True},
}
TALLY = {"expert": "echo", "part": "loud", "good": 3.0, "bad": 1.0, "ok": 0.857}
BODIES: dict[type, dict[str, object]] = {
    messages.Explain: {"decision": DECISION},
    messages.Feedback: {"id": 7, "expert": "echo", "part": "loud", "good": True, "ok": 0.91},
    messages.Decisions: {"decisions": [DECISION], "success": [TALLY]},
    messages.Ping: {"version": "0.1.0", "wire": 1, "pid": 123},
    messages.List: {"experts": [ECHO], "refused": [REFUSED]},
    messages.Ps: {
        "experts": [PROCESS],
        "hosts": [{"engine": "echo", "pid": 41, "version": "1", "pss_bytes": 9000, "workers": 1}],
    },
    messages.Status: STATUS,
    messages.Uplink: {
        "on": True,
        "allow": ["auto"],
        "users": [],
        "today": {"requests": 3, "requests_per_day": 100, "money": 0.01, "damaged": True},
        "folder": "/var/lib/aiosd/state/uplink",
        "endpoints": [
            {
                "name": "vendor",
                "address": "api.example.com:443",
                "state": "unusable",
                "problem": "key refused",
                "key": "none",
            }
        ],
        "entries": [
            {"at": 0.5, "what": "sent", "uid": 1000, "kind": "auto", "endpoint": "vendor"},
            {"what": "ended", "endpoint": "vendor", "outcome": "read: stalled"},
        ],
        "lasting": False,
    },
    messages.Reload: {"added": ["b"], "removed": [], "changed": [], "refused": []},
}
USAGE = Usage(queue_ms=0.1, run_ms=1.5, engine_ms=0.9, tokens_in=2, tokens_out=3)


class FakeDaemon:
    """A thread with real sockets in `folder`; may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: list[Envelope] = []
        self.refused: list[AiosdError] = []
        self.answering = True
        self._changed = threading.Condition()
        self._held: dict[bytes, bytes] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        # A context per life: ending it waits until the old sockets are gone from the folder.
        self._context = zmq.Context()
        self._control = self._context.socket(zmq.PAIR)
        self._control.bind("inproc://control")
        bound = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(bound,))
        self._thread.start()
        assert bound.wait(10)

    def stop(self) -> None:
        if self._thread is not None:
            self._control.send(b"stop")
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._thread = None
            self._control.close(linger=0)
            self._context.term()

    def publish(self, topic: str, **facts: object) -> None:
        self._control.send_multipart([b"publish", topic.encode(), msgspec.msgpack.encode(facts)])

    def wait_for(self, what: Callable[[list[Envelope]], bool]) -> None:
        """Wait until the messages that came fit `what`."""
        with self._changed:
            assert self._changed.wait_for(lambda: what(self.received), 10)

    def wait_for_kind(self, kind: type, number: int = 1) -> None:
        self.wait_for(lambda got: sum(isinstance(one.verb, kind) for one in got) >= number)

    def runs(self) -> list[Envelope]:
        return [one for one in self.received if isinstance(one.verb, messages.Run)]

    def _serve(self, bound: threading.Event) -> None:
        context = self._context
        api, admin = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        events, control = context.socket(zmq.XPUB), context.socket(zmq.PAIR)
        for name, socket in (("api", api), ("admin", admin), ("events", events)):
            socket.setsockopt(zmq.LINGER, 200)
            socket.bind(f"ipc://{self.folder / name}.sock")
        control.connect("inproc://control")
        bound.set()
        poller = zmq.Poller()
        for socket in (api, admin, control):
            poller.register(socket, zmq.POLLIN)
        running = True
        while running:
            ready = dict(poller.poll())
            for socket in (api, admin):
                if socket in ready:
                    self._take(socket, admin=socket is admin)
            if control in ready:
                running = self._obey(control, events)
        for socket in (api, admin, events, control):
            socket.close()
        self._held.clear()

    def _obey(self, control: zmq.Socket[bytes], events: zmq.Socket[bytes]) -> bool:
        order = control.recv_multipart()
        if order[0] == b"publish":
            # Wait for the subscription, so that a test's event is not lost; XPUB shows it.
            if not getattr(self, "_subscribed", False):
                events.recv()
                self._subscribed = True
            events.send_multipart(order[1:])
            return True
        self._subscribed = False
        return False

    def _take(self, socket: zmq.Socket[bytes], *, admin: bool) -> None:
        peer, *frames = socket.recv_multipart()
        answers: list[messages.Answer] = []
        try:
            envelope = decode(frames)
            with self._changed:
                self.received.append(envelope)
                self._changed.notify_all()
            if not self.answering:
                return
            answers = self._answer(socket, peer, envelope, admin=admin)
        except AiosdError as error:
            self.refused.append(error)
            answers = [messages.error_message(error)]
        for answer in answers:
            socket.send_multipart([peer, message_id(frames), encode(answer)])

    def _answer(
        self, socket: zmq.Socket[bytes], peer: bytes, envelope: Envelope, *, admin: bool
    ) -> list[messages.Answer]:
        verb = envelope.verb
        if isinstance(verb, messages.ADMIN_ONLY) and not admin:
            raise ForbiddenError("this verb belongs on the admin socket")
        if isinstance(verb, messages.Cancel):
            if envelope.id in self._held:
                del self._held[envelope.id]
                gone = messages.error_message(CancelledError("cancelled by the caller"))
                socket.send_multipart([peer, envelope.id, encode(gone)])
            return []
        if isinstance(verb, messages.Run):
            return self._run(peer, envelope, verb)
        return [messages.Reply(body=_body(verb))]

    def _run(self, peer: bytes, envelope: Envelope, run: messages.Run) -> list[messages.Answer]:
        if run.expert is not None and run.expert != "echo":
            raise UnknownExpertError(f"no expert {run.expert!r} is installed", nearest=["echo"])
        text = run.input.text if isinstance(run.input, TextInput) else ""
        word = text.split(" ", 1)[0]
        if word == "fail":
            raise ExpertFailedError("the worker crashed", reason="signal 11")
        if word == "busy":
            raise BusyError("the queue is full", retry_after_seconds=0.5)
        if word in {"hold", "stuck"}:
            self._held[envelope.id] = peer
            return [messages.Chunk(n=0, text="stuck")] if word == "stuck" else []
        output: dict[str, object] = {"type": type_of(run.input), "text": text}
        index = attachment_index(run.input)
        if index is not None:
            output["bytes"] = len(envelope.attachments[index])
        outcome = Outcome(
            expert="echo", release=1, why="fake", output=output, cold=False, usage=USAGE
        )
        pieces = text.split(" ") if run.options.stream and text else []
        chunks = [messages.Chunk(n=n, text=piece) for n, piece in enumerate(pieces)]
        return [*chunks, messages.End(outcome=outcome)]


def _body(verb: messages.Verb) -> dict[str, object]:
    if isinstance(verb, messages.Load | messages.Unload | messages.Pin):
        return {"expert": verb.expert, "state": "ready"}
    if isinstance(verb, messages.Show):
        if verb.expert != "echo":
            raise UnknownExpertError(f"no expert {verb.expert!r} is installed", nearest=["echo"])
        return {"manifest": {"name": "echo"}, "state": "ready", "need_bytes": 1, "folder": "/x"}
    return BODIES[type(verb)]
