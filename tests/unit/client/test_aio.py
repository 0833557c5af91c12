"""The awaiting client against a fake daemon on real sockets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.client import AsyncClient
from aiosd.client.patience import Patience
from aiosd.domain.errors import BusyError, DeadlineError, InvalidError, UnreachableError
from aiosd.protocol import messages

HASTY = Patience(silence=5.0, connect=0.3, restart=0.6, heartbeat=0.1)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as daemon:
        yield daemon


async def test_requests_run_side_by_side(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        outcomes = await asyncio.gather(*(client.run(f"n {number}") for number in range(50)))
    assert [one.output["text"] for one in outcomes] == [f"n {number}" for number in range(50)]


async def test_every_verb_returns_the_body(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        assert (await client.ping())["wire"] == 1
        assert (await client.list())["refused"]
        assert (await client.show("echo"))["folder"] == "/x"
        assert (await client.ps())["hosts"]
        assert (await client.status())["board"] == "generic"
        assert (await client.load("echo"))["state"] == "ready"
        assert (await client.unload("echo"))["expert"] == "echo"
        assert (await client.pin("echo"))["expert"] == "echo"
        assert (await client.reload())["added"] == ["b"]
        assert (await client.uplink("log", 5))["on"] is True


async def test_a_stream_gives_the_pieces_and_then_the_outcome(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        stream = client.stream("one two three")
        assert [piece async for piece in stream] == ["one", "two", "three"]
        assert stream.outcome.expert == "echo"


async def test_an_error_comes_as_its_own_class(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        with pytest.raises(BusyError):
            await client.run("busy")
        with pytest.raises(InvalidError, match="nothing"):
            await client.run()


async def test_cancelling_the_task_cancels_the_request(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        task = asyncio.ensure_future(client.run("hold it"))
        await asyncio.to_thread(daemon.wait_for_kind, messages.Run)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(daemon.wait_for_kind, messages.Cancel)
        assert (await client.run("after")).output["text"] == "after"


async def test_leaving_a_stream_cancels_the_request(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        async with client.stream("stuck here") as stream:
            assert await anext(stream) == "stuck"
        await asyncio.to_thread(daemon.wait_for_kind, messages.Cancel)


async def test_requests_lost_by_a_restart_are_all_sent_again(daemon: FakeDaemon) -> None:
    daemon.answering = False
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        tasks = [asyncio.ensure_future(client.run(f"n {number}")) for number in range(5)]
        await asyncio.to_thread(daemon.wait_for_kind, messages.Run, 5)
        daemon.stop()
        daemon.answering = True
        daemon.start()
        outcomes = await asyncio.gather(*tasks)
    assert [one.output["text"] for one in outcomes] == [f"n {number}" for number in range(5)]


async def test_a_stream_that_a_restart_cut_is_not_begun_again(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        stream = client.stream("stuck here")
        assert await anext(stream) == "stuck"
        daemon.stop()
        daemon.start()
        with pytest.raises(UnreachableError, match="after 1 pieces"):
            await anext(stream)


async def test_a_daemon_that_hangs_or_is_gone_is_unreachable(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.answering = False
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        with pytest.raises(UnreachableError, match="hangs"):
            await client.run("x")
    async with AsyncClient(tmp_path / "no", patience=HASTY) as client:
        with pytest.raises(UnreachableError, match="systemctl"):
            await client.run("x")


async def test_a_wait_has_a_limit(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        with pytest.raises(DeadlineError):
            await client.run("hold it", timeout_seconds=0.3)


async def test_closing_the_client_ends_a_wait(daemon: FakeDaemon) -> None:
    client = AsyncClient(daemon.folder, patience=HASTY)
    task = asyncio.ensure_future(client.run("hold it"))
    await asyncio.to_thread(daemon.wait_for_kind, messages.Run)
    await client.close()
    with pytest.raises(UnreachableError, match="closed"):
        await task
    await asyncio.to_thread(daemon.wait_for_kind, messages.Cancel)


async def test_events_are_followed_by_topic(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        events = client.events(["expert"], timeout_seconds=5)
        daemon.publish("request.done", at=1.0)
        daemon.publish("expert.ready", at=2.0, expert="echo")
        event = await anext(events)
        assert (event.topic, event.facts) == ("expert.ready", {"expert": "echo"})
        await events.aclose()


async def test_events_end_after_the_limit_of_silence(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.folder, patience=HASTY) as client:
        events = client.events(timeout_seconds=0.2)
        daemon.publish("expert.ready", at=2.0)
        assert [event.topic async for event in events] == ["expert.ready"]
