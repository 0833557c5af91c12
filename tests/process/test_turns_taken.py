"""Whose turn it is, through a real daemon with real workers."""

import pytest
from fakes.running import DaemonProcess, RawClient, until

from aiosd.protocol.messages import End, Ps, Reply, Status

pytestmark = pytest.mark.process

NAMES = ("one", "two", "three")


def loaded(daemon: DaemonProcess, **tables: dict[str, object]) -> RawClient:
    """Start a daemon with three echoes, each after its first answer."""
    for name in NAMES:
        daemon.install(name)
    client = daemon.start(**tables).client()
    for name in NAMES:
        assert isinstance(client.say(name, "hello"), End)
    return client


def row(client: RawClient, name: str) -> dict[str, object]:
    """Return what `ps` says of an expert."""
    answer = client.ask(Ps())
    assert isinstance(answer, Reply)
    experts = answer.body["experts"]
    assert isinstance(experts, list)
    return next(each for each in experts if each["name"] == name)


def test_no_more_are_answered_at_once_than_may_be(daemon: DaemonProcess) -> None:
    client = loaded(daemon, queue={"running": 1})
    first = client.run("one", "!sleep 0.4")
    second = client.run("two", "hello")
    until(lambda: row(client, "two")["queue"] == 1, "the second to wait")
    assert row(client, "one")["priority"] == "normal"
    assert isinstance(client.end(first), End)
    answer = client.end(second)
    assert isinstance(answer, End)
    assert answer.outcome.usage.queue_ms > 0


def test_the_more_urgent_passes_by_and_background_comes_last(daemon: DaemonProcess) -> None:
    client = loaded(daemon, queue={"running": 1})
    running = client.run("one", "!sleep 0.6")
    until(lambda: row(client, "one")["priority"] == "normal", "the first to be answered")
    last = client.run("two", "hello", priority="background")
    waits = client.run("two", "hello")
    answer = client.end(client.run("three", "hello", priority="interactive"))
    assert isinstance(answer, End)
    assert row(client, "one")["priority"] == "normal"  # it still runs
    assert isinstance(client.end(running), End)
    ends = [client.end(waits), client.end(last)]
    queued = [each.outcome.usage.queue_ms for each in ends if isinstance(each, End)]
    assert len(queued) == 2
    assert 0 < queued[0] < queued[1]


def test_ps_says_what_a_worker_may_use_and_how_nice_it_is(daemon: DaemonProcess) -> None:
    client = loaded(daemon)
    sweeper = client.run("one", "!sleep 5", priority="background")
    until(lambda: row(client, "one")["priority"] == "background", "it to be answered")
    assert row(client, "one")["threads"] == 1
    nice = row(client, "one")["nice"]
    assert isinstance(nice, int)
    assert nice >= 5
    client.run("two", "hello")
    client.close()
    assert sweeper


def test_status_says_that_nothing_is_waited_for(daemon: DaemonProcess) -> None:
    client = loaded(daemon)
    answer = client.ask(Status())
    assert isinstance(answer, Reply)
    assert answer.body["waiting_for"] == ""
