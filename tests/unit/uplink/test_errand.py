"""Requests on their way up, to a server on loopback that has every bad habit."""

import gzip
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from fakes.openai import DONE, HEAD, FakeOpenai, Script, event, raw, says, status

from aiosd.domain.errors import (
    AiosdError,
    CancelledError,
    ConfigError,
    DeadlineError,
    ExpertFailedError,
    NoRouteError,
    RefusedPrivacyError,
)
from aiosd.domain.inputs import Turn
from aiosd.domain.request import Sampling
from aiosd.domain.uplink import Endpoint, Uplink, check_uplink
from aiosd.policy.outbound.redaction import Redactor
from aiosd.protocol.uplink import Answered, Ask
from aiosd.uplink.case import Case
from aiosd.uplink.errand import run_errand
from aiosd.uplink.office import Office
from aiosd.uplink.settings import Own

KEY = "sk-very-secret-0123456789"


class Stage:
    """An office with a fake server behind each endpoint."""

    def __init__(self, folder: Path, *servers: FakeOpenai, **settings: object) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder / f"uplink-{len(list(folder.iterdir()))}"
        key_file = folder / "key"
        key_file.write_text(KEY + "\n")
        key_file.chmod(0o600)
        prices = settings.pop("prices", (0.0, 0.0))
        endpoints = [
            Endpoint(
                name=f"e{number}",
                url=server.url,
                model="big",
                key_file=str(key_file),
                price_in=prices[0],  # type: ignore[index]
                price_out=prices[1],  # type: ignore[index]
            )
            for number, server in enumerate(servers, 1)
        ]
        quick = {
            "first_byte_seconds": 0.5,
            "stall_seconds": 0.3,
            "connect_seconds": 2.0,
            "failures": 2,
        }
        self.uplink = Uplink(
            on=True,
            endpoints=endpoints,
            plain_http=[server.address for server in servers],
            **(quick | settings),  # type: ignore[arg-type]
        )
        check_uplink(self.uplink)
        self.open()

    def open(self) -> None:
        """Begin again, as after a crash."""
        office = getattr(self, "office", None)
        if office is not None:
            os.close(office._lock_file)
        self.office = Office(Own(self.uplink, Redactor(self.uplink.redact), self.folder, ""))

    def close(self) -> None:
        """End in order; another one begins after it."""
        self.office.close()
        del self.office

    def case(self, text: str = "hello there", **ask: object) -> Case:
        self.pieces: list[str] = []
        facts = {"sampling": Sampling(), "stream": True} | ask
        made = Ask(
            id=1,
            turns=[Turn(role="user", content=text)],
            kind="auto",
            client="api:01",
            uid=1000,
            **facts,  # type: ignore[arg-type]
        )
        return Case(made, self.uplink.total_seconds, self.pieces.append)

    def ask(self, text: str = "hello there", **ask: object) -> Answered:
        return run_errand(self.office, self.case(text, **ask))

    def fail(self, kind: type[AiosdError], text: str = "hello there", **ask: object) -> AiosdError:
        with pytest.raises(kind) as caught:
            self.ask(text, **ask)
        return caught.value

    def log(self) -> list[dict[str, object]]:
        entries = self.office.entries(100)["entries"]
        assert isinstance(entries, list)
        return entries

    def today(self) -> dict[str, object]:
        today = self.office.status()["today"]
        assert isinstance(today, dict)
        return today


@pytest.fixture
def server() -> Iterator[FakeOpenai]:
    with FakeOpenai() as made:
        yield made


@pytest.fixture
def second() -> Iterator[FakeOpenai]:
    with FakeOpenai(last=says("from", " two")) as made:
        yield made


def test_an_answer_streams_through_with_what_it_cost(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, prices=(2.0, 10.0), money_per_day=1.0)
    server.scripts = [says("Hel", "lo", tokens=(100, 20))]
    done = stage.ask("hi", sampling=Sampling(max_tokens=50, temperature=0.5, stop=["x"]))
    assert (done.text, stage.pieces) == ("Hello", ["Hel", "lo"])
    assert (done.endpoint, done.model, done.finish_reason) == ("e1", "fake-1", "stop")
    assert (done.tokens_in, done.tokens_out) == (100, 20)
    assert (done.cost, done.currency) == (0.0004, "USD")
    assert done.first_token_ms is not None
    asked = server.asked[0]
    assert asked.line == "POST /v1/chat/completions HTTP/1.1"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["accept-encoding"] == "identity"
    body = json.loads(asked.body)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["model"], body["stream"], body["max_tokens"]) == ("big", True, 50)
    assert (body["temperature"], body["stop"]) == (0.5, ["x"])
    assert stage.today()["money"] == 0.0004


def test_a_server_that_cannot_stream_is_understood_too(server: FakeOpenai, tmp_path: Path) -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    server.scripts = [status(200, json.dumps(body).encode())]
    stage = Stage(tmp_path, server)
    done = stage.ask(stream=False)
    assert (done.text, done.tokens_out, done.cost) == ("Hi", 2, None)
    assert stage.pieces == []


def test_an_answer_without_done_counts_if_it_says_why_it_ends(
    server: FakeOpenai, tmp_path: Path
) -> None:
    server.scripts = [raw(HEAD, event("a"), event("b", "length"))]
    done = Stage(tmp_path, server).ask()
    assert (done.text, done.finish_reason, done.tokens_in) == ("ab", "length", None)


BROKEN: dict[str, tuple[Script, str]] = {
    "broken off": (raw(HEAD, event("a")), "broke off"),
    "no event at all": (raw(HEAD), "broke off"),
    "no JSON": (raw(HEAD, b"data: {nonsense\n\n"), "no answer"),
    "invalid UTF-8": (raw(HEAD, event("a").replace(b'"a"', b'"\xff\xfe"')), "no answer"),
    "another shape": (raw(HEAD, b'data: {"choices": 7}\n\n'), "no answer"),
    "deep nesting in what is skipped": (
        raw(HEAD, b'data: {"choices": [], "x": ' + b"[" * 50_000 + b"\n\n"),
        "no answer",
    ),
    "deep nesting": (raw(HEAD, b"data: " + b"[" * 50_000 + b"\n\n"), "no answer"),
    "an error inside": (raw(HEAD, b'data: {"error": {"message": "sk-leak"}}\n\n'), "error"),
    "negative counts": (
        raw(HEAD, b'data: {"usage": {"prompt_tokens": -5, "completion_tokens": 1}}\n\n'),
        "fewer than no tokens",
    ),
    "a gigantic line": (raw(HEAD, b"data: " + b"x" * 70_000), "more than 65536 bytes"),
    "a gigantic answer": (raw(HEAD, *[event("x" * 1000)] * 70), "more than 65536 bytes"),
    "a gigantic body": (status(200, b" " * 70_000), "more than 65536 bytes"),
    "wrong type": (
        raw(HEAD.replace(b"event-stream", b"html")),
        "neither",
    ),
    "a bomb": (
        raw(
            HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"),
            gzip.compress(b"\0" * 1_000_000),
        ),
        "packed",
    ),
    "no HTTP": (raw(b"220 smtp ready\r\n"), "BadStatusLine"),
    "headers without end": (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), "HTTPExc"),
    "a header too long": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), "LineToo"),
    "nothing": (raw(b""), "RemoteDisconnected"),
    "bad chunks": (
        raw(HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), b"zz\r\n"),
        "IncompleteRead",
    ),
    "500": (status(500, b"boom"), "status 500"),
    "401": (status(401, f"no such key: {KEY}".encode()), "the owner must change it"),
    "404": (status(404), "see url and model"),
    "301": (status(301, Location="http://127.0.0.1:1/v1"), "not followed"),
    "307": (status(307, Location="http://127.0.0.1:1/v1"), "not followed"),
    "304": (status(304), "not followed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_an_endpoint_does_ends_typed_and_the_next_one_answers(
    server: FakeOpenai, second: FakeOpenai, tmp_path: Path, name: str
) -> None:
    script, word = BROKEN[name]
    server.last = script
    alone = Stage(tmp_path, server, max_answer="64 KiB")
    error = alone.fail(NoRouteError, stream=False)
    assert word in error.message
    assert KEY not in repr(error.details) + error.message
    assert "sk-leak" not in error.message
    both = Stage(tmp_path, server, second, max_answer="64 KiB")
    assert both.ask(stream=False).endpoint == "e2"


def test_once_a_piece_was_passed_on_no_other_endpoint_begins_anew(
    server: FakeOpenai, second: FakeOpenai, tmp_path: Path
) -> None:
    server.scripts = [raw(HEAD, event("half an ans")), server.reset(HEAD, event("half"))]
    stage = Stage(tmp_path, server, second)
    error = stage.fail(ExpertFailedError)
    assert "e1" in error.message
    assert "broke off" in error.message
    assert stage.pieces == ["half an ans"]
    assert "e1" in stage.fail(ExpertFailedError).message
    assert second.asked == []


def test_silence_is_given_up_at_every_stage(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, failures=10)
    server.scripts = [
        server.stall(),
        server.stall(b"HTTP/1.1 200 OK\r\nContent-"),
        server.stall(HEAD),
        server.stall(HEAD, event("a")),
        server.stall(HEAD, event("a")),
    ]
    for word in ("timed out", "timed out", "stalled", "stalled"):
        assert word in stage.fail(NoRouteError, stream=False).message
    assert "stalled" in stage.fail(ExpertFailedError).message


def test_nobody_listens_and_nobody_has_that_name(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, failures=1, rest_seconds=60.0)
    server.__exit__()
    error = stage.fail(NoRouteError)
    assert "connect: Connection refused" in error.message
    assert 0 < float(str(error.details["retry_after_seconds"])) <= 60.0
    assert "rests for" in stage.fail(NoRouteError).message
    endpoints = stage.office.status()["endpoints"]
    assert isinstance(endpoints, list)
    assert endpoints[0]["state"] == "resting"
    assert stage.today()["requests"] == 0, "nothing left, so nothing is counted"
    assert [entry["what"] for entry in stage.log()] == ["sent", "ended"]
    assert stage.log()[1]["bytes_up"] == 0


def test_an_endpoint_that_asks_for_rest_gets_it(
    server: FakeOpenai, second: FakeOpenai, tmp_path: Path
) -> None:
    date = formatdate(time.time() + 50, usegmt=True)
    for header, least in (("40", 39.0), (date, 45.0), ("999999", 3500.0)):
        server.asked.clear()
        server.scripts = [status(429, Retry_After=header)]
        stage = Stage(tmp_path, server, second)
        assert stage.ask().endpoint == "e2"
        assert stage.ask().endpoint == "e2"
        assert len(server.asked) == 1
        first = stage.office.doors[0]
        assert least <= first.breaker.rest_seconds(time.monotonic()) <= 3600.0


def test_a_wrong_request_is_not_sent_to_the_next_endpoint(
    server: FakeOpenai, second: FakeOpenai, tmp_path: Path
) -> None:
    server.scripts = [status(400, b"your text was ...")]
    stage = Stage(tmp_path, server, second)
    error = stage.fail(ExpertFailedError)
    assert error.details["status"] == 400
    assert "your text" not in error.message
    assert second.asked == []


def test_the_deadline_goes_up_with_the_request(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, first_byte_seconds=20.0, stall_seconds=20.0)
    server.scripts = [server.stall(HEAD, event("a")), server.stall()]
    assert stage.fail(DeadlineError, seconds=0.2).details["stage"] == "running"
    assert stage.fail(DeadlineError, seconds=0.2).details["stage"] == "running"
    assert stage.office.doors[0].breaker.begin(time.monotonic()) is not None


def test_a_request_that_is_given_up_ends_at_once(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, first_byte_seconds=20.0, stall_seconds=20.0)
    for script in (server.stall(), server.stall(HEAD, event("a"))):
        server.scripts = [script]
        case = stage.case()
        errors: list[AiosdError] = []

        def run(case: Case = case, errors: list[AiosdError] = errors) -> None:
            with pytest.raises(CancelledError) as caught:
                run_errand(stage.office, case)
            errors.append(caught.value)

        thread = threading.Thread(target=run)
        thread.start()
        server.wait_for(1)
        server.asked.clear()
        case.stop()
        thread.join(10)
        assert errors


def test_what_the_owner_lists_is_hidden_before_it_leaves(
    server: FakeOpenai, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, server, redact=[r"[\w.]+@[\w.]+", r"\d{4,}"])
    done = stage.ask("mail ann@example.org or 0170123456, not 12")
    assert server.asked[0].text == "mail [redacted] or [redacted], not 12"
    assert done.redactions == 2
    assert stage.log()[0]["redactions"] == 2


def test_what_goes_along_is_looked_at_too(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, redact=[r"\d{4,}"])
    schema: dict[str, object] = {"type": "object", "properties": {"x": {"enum": ["a", "12345"]}}}
    for sampling in (Sampling(stop=["no", "12345"]), Sampling(json_schema=schema)):
        error = stage.fail(RefusedPrivacyError, sampling=sampling)
        assert error.details["forbidden_by"] == "uplink.redact"
    assert "grammar" in stage.fail(NoRouteError, sampling=Sampling(grammar="root ::= x")).message
    assert server.asked == []
    stage.ask(sampling=Sampling(json_schema={"type": "object"}, stop=["123"]))
    sent = json.loads(server.asked[0].body)
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_what_is_too_large_or_too_dear_does_not_leave(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server, max_request="1 KiB", prices=(1.0, 1000.0), money_per_day=9.0)
    assert stage.fail(NoRouteError, "x" * 2000).details["limit_bytes"] == 1024
    error = stage.fail(NoRouteError, max_cost=0.01)
    assert "could cost 1.02" in error.message
    assert stage.fail(NoRouteError, max_cost=float("nan")).details
    assert server.asked == []
    assert stage.log() == []
    assert stage.ask(max_cost=0.01, sampling=Sampling(max_tokens=5)).text


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        ("requests_per_day", {"requests_per_day": 1}),
        ("bytes_per_day", {"bytes_per_day": "65 KiB", "max_answer": "64 KiB"}),
        ("money_per_day", {"money_per_day": 0.003, "prices": (1.0, 2.0)}),
    ],
)
def test_over_budget_is_no_route_at_once_and_a_restart_forgets_nothing(
    server: FakeOpenai, tmp_path: Path, budget: str, settings: dict[str, object]
) -> None:
    server.last = says("ok", tokens=(500, 300))
    stage = Stage(tmp_path, server, **settings)
    stage.ask("y" * 300)
    for again in range(3):
        error = stage.fail(NoRouteError, "y" * 300)
        assert error.details["budget"] == budget
        assert 0 <= float(str(error.details["retry_after_seconds"])) <= 86_400
        if again == 1:
            stage.close()
        stage.open()
    assert len(server.asked) == 1


def test_an_answer_that_broke_off_counts_the_most_it_can_have_cost(
    server: FakeOpenai, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, server, prices=(0.0, 1000.0), money_per_day=9.0, max_tokens=100)
    server.scripts = [raw(HEAD, event("a"))]
    stage.fail(NoRouteError, stream=False)
    assert stage.today()["money"] == 0.1


def test_a_budget_that_cannot_be_read_counts_as_used_up(server: FakeOpenai, tmp_path: Path) -> None:
    stage = Stage(tmp_path, server)
    stage.ask()
    (stage.folder / "budget.json").write_text("{")
    stage.open()
    assert stage.fail(NoRouteError).details["budget"] == "requests_per_day"
    assert stage.today()["damaged"] is True


def test_what_cannot_be_logged_or_counted_does_not_leave(
    server: FakeOpenai, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, server)
    (stage.folder / "log.jsonl").mkdir()
    assert "log of what leaves" in stage.fail(NoRouteError).message
    (stage.folder / "log.jsonl").rmdir()
    other = Stage(tmp_path / "state", server)
    (other.folder / "budget.json.new").mkdir()
    assert other.fail(NoRouteError).details["budget"] == "unwritable"
    assert server.asked == []
    assert other.today()["requests"] == 0


def test_the_log_says_who_where_how_much_and_a_digest_but_not_the_text(
    server: FakeOpenai, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, server)
    stage.ask("a very private text")
    sent, ended = stage.log()
    assert sent["sha256"] == hashlib.sha256(b"a very private text").hexdigest()
    assert (sent["uid"], sent["client"], sent["kind"]) == (1000, "api:01", "auto")
    assert (sent["endpoint"], sent["address"]) == ("e1", server.address)
    assert sent["bytes_up"] == ended["bytes_up"] == len(server.asked[0].body)
    assert ended["outcome"] == "answered"
    everything = b"".join(path.read_bytes() for path in stage.folder.rglob("*") if path.is_file())
    assert b"private" not in everything
    assert KEY.encode() not in everything
    assert all(path.stat().st_mode & 0o077 == 0 for path in stage.folder.rglob("*"))


def test_a_finish_without_text_is_an_answer(server: FakeOpenai, tmp_path: Path) -> None:
    server.scripts = [raw(HEAD, event("", "stop"), DONE)]
    assert Stage(tmp_path, server).ask().text == ""


def test_the_books_have_one_writer(
    server: FakeOpenai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, server)
    own = Own(stage.uplink, Redactor([]), stage.folder, "")
    monkeypatch.setattr("aiosd.uplink.office.CLAIM_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="another uplink"):
        Office(own)
    stage.close()
    Office(own).close()
