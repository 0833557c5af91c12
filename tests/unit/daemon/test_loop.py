"""The daemon's loop calls readers itself, and leaves everything else to asyncio."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from aiosd.daemon.loop import DirectLoop


@pytest.fixture
def loop() -> Iterator[DirectLoop]:
    made = DirectLoop()
    yield made
    made.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.settimeout(0)
    with near, far:
        yield near, far


def test_a_reader_is_called_when_bytes_have_come(
    loop: DirectLoop, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    got: list[bytes] = []

    def read(word: str) -> None:
        got.append(near.recv(10) + word.encode())
        loop.stop()

    loop.add_reader(near, read, "!")
    far.send(b"hello")
    loop.run_forever()
    assert got == [b"hello!"]


def test_a_reader_is_told_of_the_end(
    loop: DirectLoop, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    got: list[bytes] = []

    def read() -> None:
        got.append(near.recv(10))
        loop.remove_reader(near)
        loop.stop()

    loop.add_reader(near.fileno(), read)
    far.close()
    loop.run_forever()
    assert got == [b""]


def test_a_reader_that_was_removed_is_not_called(
    loop: DirectLoop, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    called: list[str] = []
    loop.add_reader(near, called.append, "read")
    assert loop.remove_reader(near)
    assert not loop.remove_reader(near)
    far.send(b"hello")
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert called == []


def test_a_reader_that_fails_is_reported_and_the_others_go_on(
    loop: DirectLoop, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    reported: list[object] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    def fail() -> None:
        near.recv(10)
        loop.call_soon(loop.stop)
        raise ValueError("lost its mind")

    loop.add_reader(near, fail)
    far.send(b"hello")
    loop.run_forever()
    assert [str(each) for each in reported] == ["lost its mind"]


def test_one_reader_may_close_what_another_waits_for(loop: DirectLoop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def read(me: int) -> None:
        called.append(me)
        for near, far in pairs:
            loop.remove_reader(near)
            near.close()
            far.close()
        loop.stop()

    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, read, number)
        far.send(b"x")
    loop.run_forever()
    assert len(called) == 1


def test_a_descriptor_is_written_and_read_at_once(
    loop: DirectLoop, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    called: list[str] = []

    def write() -> None:
        called.append("write")
        loop.remove_writer(near)
        loop.stop()

    def read() -> None:
        called.append("read")
        near.recv(10)

    loop.add_reader(near, read)
    loop.add_writer(near, write)
    far.send(b"x")
    loop.run_forever()
    assert sorted(called) == ["read", "write"]


def test_timers_tasks_and_threads_are_asyncios(loop: DirectLoop) -> None:
    async def work() -> int:
        await asyncio.sleep(0.001)
        return await loop.run_in_executor(None, int, "7")

    assert loop.run_until_complete(work()) == 7
