"""The blocking client against a fake daemon on real sockets."""

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from fakes.daemon import FakeDaemon

from aiosd.client import Client
from aiosd.client.patience import Patience
from aiosd.domain.errors import (
    BusyError,
    DeadlineError,
    ExpertFailedError,
    InvalidError,
    UnknownExpertError,
    UnreachableError,
)
from aiosd.protocol import messages

HASTY = Patience(silence=5.0, connect=0.3, restart=0.6, heartbeat=0.1, cancel=1.0)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    with Client(daemon.folder, patience=HASTY) as client:
        yield client


def test_a_text_is_answered_with_its_outcome(client: Client) -> None:
    outcome = client.run(text="hello there")
    assert (outcome.expert, outcome.output["text"]) == ("echo", "hello there")
    assert outcome.usage.run_ms == 1.5


def test_a_plain_string_is_a_text(client: Client) -> None:
    assert client.run("hello", expert="echo").output["text"] == "hello"


def test_every_verb_returns_the_body(client: Client) -> None:
    assert client.ping()["wire"] == 1
    assert client.list()["refused"]
    assert client.show("echo")["folder"] == "/x"
    assert client.ps()["hosts"]
    assert client.status()["board"] == "generic"
    assert client.load("echo")["state"] == "ready"
    assert client.unload("echo")["expert"] == "echo"
    assert client.pin("echo", pinned=False)["expert"] == "echo"
    assert client.reload()["added"] == ["b"]
    assert client.uplink("log", 5)["on"] is True


def test_errors_come_as_their_own_class_with_details(client: Client) -> None:
    with pytest.raises(BusyError) as busy:
        client.run("busy now")
    assert busy.value.retry_after_seconds == 0.5
    with pytest.raises(ExpertFailedError, match="crashed"):
        client.run("fail now")
    with pytest.raises(UnknownExpertError) as unknown:
        client.run("x", expert="ecko")
    assert unknown.value.details["nearest"] == ["echo"]
    assert client.run("after").output["text"] == "after"


def test_large_bytes_travel_as_an_attachment(client: Client, daemon: FakeDaemon) -> None:
    outcome = client.run(image=b"x" * 40_000)
    assert outcome.output["bytes"] == 40_000
    assert len(daemon.runs()[0].attachments) == 1


def test_a_stream_gives_the_pieces_and_then_the_outcome(client: Client) -> None:
    stream = client.stream("one two three")
    with pytest.raises(RuntimeError):
        _ = stream.outcome
    assert list(stream) == ["one", "two", "three"]
    assert stream.outcome.output["text"] == "one two three"
    assert list(stream) == []


def test_another_request_may_run_while_a_stream_is_open(client: Client) -> None:
    with client.stream("one two") as stream:
        assert next(stream) == "one"
        assert client.run("between").output["text"] == "between"
        assert list(stream) == ["two"]


def test_closing_a_stream_cancels_the_request(client: Client, daemon: FakeDaemon) -> None:
    with client.stream("stuck here") as stream:
        assert next(stream) == "stuck"
    daemon.wait_for_kind(messages.Cancel)
    assert daemon.received[-1].id == daemon.runs()[0].id
    assert list(stream) == []


def test_closing_the_client_cancels_a_stream_that_was_left(daemon: FakeDaemon) -> None:
    with Client(daemon.folder, patience=HASTY) as client:
        for piece in client.stream("stuck here"):
            assert piece == "stuck"
            break
    daemon.wait_for_kind(messages.Cancel)


def test_a_request_that_takes_too_long_is_cancelled(client: Client, daemon: FakeDaemon) -> None:
    with pytest.raises(DeadlineError, match="timeout_seconds") as late:
        client.run("hold it", timeout_seconds=0.2)
    assert late.value.details["stage"] == "client"
    daemon.wait_for_kind(messages.Cancel)


def test_a_late_answer_is_not_given_to_the_next_request(tmp_path: Path) -> None:
    patience = Patience(silence=0.2, cancel=0.0)
    with FakeDaemon(tmp_path) as daemon, Client(tmp_path, patience=patience) as client:
        for _ in range(3):
            with pytest.raises(DeadlineError):
                client.run("hold it")
            assert client.run("next").output["text"] == "next"
        assert len(daemon.runs()) == 6


def test_no_daemon_is_reported_at_once_with_the_socket_and_the_next_step(tmp_path: Path) -> None:
    begun = monotonic()
    with (
        Client(tmp_path, patience=HASTY) as client,
        pytest.raises(UnreachableError, match="systemctl status aiosd") as gone,
    ):
        client.run("x")
    assert str(tmp_path / "api.sock") in gone.value.message
    assert gone.value.details["reason"] == "missing"
    assert monotonic() - begun < 3


def test_a_socket_left_behind_is_told_from_a_missing_one(tmp_path: Path) -> None:
    import socket  # noqa: PLC0415 -- the plain module beside zmq's, for this one test

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "api.sock"))
    with Client(tmp_path, patience=HASTY) as client, pytest.raises(UnreachableError) as gone:
        client.ping()
    assert gone.value.details["reason"] == "refused"


def test_a_client_made_before_the_daemon_starts_works_after(tmp_path: Path) -> None:
    with Client(tmp_path, patience=HASTY) as client:
        with pytest.raises(UnreachableError):
            client.ping()
        with FakeDaemon(tmp_path):
            assert client.ping()["wire"] == 1


def test_a_restart_between_requests_goes_unnoticed(client: Client, daemon: FakeDaemon) -> None:
    for number in range(3):
        assert client.run(f"n {number}").output["text"] == f"n {number}"
        daemon.stop()
        daemon.start()
    assert client.ping()


def test_a_request_lost_by_a_restart_is_sent_again(client: Client, daemon: FakeDaemon) -> None:
    daemon.answering = False

    def restart() -> None:
        daemon.wait_for_kind(messages.Run)
        daemon.stop()
        daemon.answering = True
        daemon.start()

    other = threading.Thread(target=restart)
    other.start()
    outcome = client.run("survives")
    other.join()
    assert outcome.output["text"] == "survives"
    first, second = daemon.runs()
    assert first.id != second.id


def test_a_daemon_that_dies_and_stays_away_is_unreachable(
    client: Client, daemon: FakeDaemon
) -> None:
    def kill() -> None:
        daemon.wait_for_kind(messages.Run)
        daemon.stop()

    other = threading.Thread(target=kill)
    other.start()
    with pytest.raises(UnreachableError, match="systemctl"):
        client.run("hold it")
    other.join()


def test_a_stream_that_a_restart_cut_is_not_begun_again(client: Client, daemon: FakeDaemon) -> None:
    stream = client.stream("stuck here")
    assert next(stream) == "stuck"
    daemon.stop()
    daemon.start()
    with pytest.raises(UnreachableError, match="after 1 pieces"):
        next(stream)
    assert len(daemon.runs()) == 1


def test_a_daemon_that_hangs_is_found_by_its_missing_pulse(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answering = False
    with pytest.raises(UnreachableError, match="hangs"):
        client.run("x")


def test_a_request_that_runs_long_is_not_taken_for_a_hang(
    client: Client, daemon: FakeDaemon
) -> None:
    with pytest.raises(DeadlineError):
        client.run("hold it", timeout_seconds=0.7)
    pings = [one for one in daemon.received if isinstance(one.verb, messages.Ping)]
    assert len(pings) >= 3


def test_what_the_daemon_would_refuse_is_refused_before_sending(
    client: Client, daemon: FakeDaemon
) -> None:
    with pytest.raises(InvalidError, match="exceeds"):
        client.run("x" * 300_000)
    with pytest.raises(InvalidError, match="attachment 0"):
        client.run(image=b"x" * (33 * 1024 * 1024))
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(InvalidError, match="nested"):
        client.run(json=deep)
    assert daemon.received == []


def test_events_are_followed_by_topic(client: Client, daemon: FakeDaemon) -> None:
    events = client.events(["expert"], timeout_seconds=5)
    daemon.publish("request.done", at=1.0)
    daemon.publish("expert.ready", at=2.0, expert="echo")
    daemon.publish("experts", at=3.0)
    event = next(events)
    assert (event.topic, event.at, event.facts) == ("expert.ready", 2.0, {"expert": "echo"})
    events.close()  # type: ignore[attr-defined]


def test_events_without_a_daemon_end_with_an_error(tmp_path: Path) -> None:
    with Client(tmp_path, patience=HASTY) as client, pytest.raises(UnreachableError):
        next(client.events())
