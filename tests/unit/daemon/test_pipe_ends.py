"""The two ends of a pipe: the daemon's never blocks, the worker's waits."""

import asyncio
import os
import socket
from array import array
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.daemon.pipe import Pipe
from aiosd.protocol.framing import FrameError, Unframer, frame
from aiosd.worker.channel import Channel


class Word(msgspec.Struct, frozen=True, tag="word"):
    text: str


DECODER = msgspec.msgpack.Decoder(Word)
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


class Heard:
    """What a pipe called back with."""

    def __init__(self, end: socket.socket) -> None:
        self.words: list[str] = []
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.pipe = Pipe(
            asyncio.get_running_loop(), end, DECODER, self._on_word, self.closed.set_result
        )

    def _on_word(self, word: Word) -> None:
        self.words.append(word.text)
        self.news.set()

    async def count(self, number: int) -> None:
        """Wait until that many words have come."""
        async with asyncio.timeout(5):
            while len(self.words) < number:
                self.news.clear()
                await self.news.wait()


def encoded(text: str) -> bytes:
    return frame(msgspec.msgpack.encode(Word(text)))


async def test_messages_arrive_whole_however_they_are_cut(ends: Ends) -> None:
    heard = Heard(ends[0])
    data = encoded("one") + encoded("two" * 1000) + encoded("")
    for at in range(0, len(data), 7):
        ends[1].send(data[at : at + 7])
        await asyncio.sleep(0)
    await heard.count(3)
    assert heard.words == ["one", "two" * 1000, ""]
    heard.pipe.close()


async def test_more_than_the_kernel_takes_is_sent_later_and_blocks_nobody(ends: Ends) -> None:
    heard = Heard(ends[0])
    texts = [str(number) * 50_000 for number in range(10)] * 5
    for text in texts:
        heard.pipe.send(Word(text))  # returns although nobody reads
    channel = Channel(os.dup(ends[1].fileno()), DECODER)
    found = await asyncio.to_thread(lambda: [channel.receive() for _ in texts])
    assert [each.text for each in found if each] == texts
    channel.close()
    heard.pipe.close()


async def test_a_descriptor_rides_with_its_message_and_is_closed_here(ends: Ends) -> None:
    heard = Heard(ends[0])
    channel = Channel(os.dup(ends[1].fileno()), DECODER)
    handles = []
    for text in ("first", "second"):
        handle = os.memfd_create(text)
        os.write(handle, text.encode())
        handles.append(handle)
        heard.pipe.send(Word(text), handle)
    for text in ("first", "second"):
        assert channel.receive() == Word(text)
        taken = channel.take_descriptor()
        assert os.pread(taken, 100, 0) == text.encode()
        os.close(taken)
    for handle in handles:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
    channel.close()
    heard.pipe.close()


async def test_a_descriptor_rides_with_a_message_larger_than_the_kernel_takes(ends: Ends) -> None:
    heard = Heard(ends[0])
    channel = Channel(os.dup(ends[1].fileno()), DECODER)
    heard.pipe.send(Word("x" * 2_000_000), os.memfd_create("big"))
    found = await asyncio.to_thread(channel.receive)
    assert found == Word("x" * 2_000_000)
    os.close(channel.take_descriptor())
    assert not channel.descriptors
    channel.close()
    heard.pipe.close()


async def test_descriptors_that_were_never_sent_are_closed_with_the_pipe(ends: Ends) -> None:
    heard = Heard(ends[0])
    handle = os.memfd_create("late")
    heard.pipe.send(Word("x" * 3_000_000))
    heard.pipe.send(Word("y"), handle)
    heard.pipe.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
    late = os.memfd_create("later")
    heard.pipe.send(Word("z"), late)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(late)


async def test_the_end_of_the_stream_is_told_once_without_a_reason(ends: Ends) -> None:
    heard = Heard(ends[0])
    ends[1].send(encoded("last words"))
    ends[1].close()
    async with asyncio.timeout(5):
        assert await heard.closed == ""
    assert heard.words == ["last words"]


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff????", frame(b"\xc1"), frame(b"\x93123")])
async def test_garbage_closes_the_pipe_with_a_reason(ends: Ends, garbage: bytes) -> None:
    heard = Heard(ends[0])
    ends[1].send(encoded("sane") + garbage)
    async with asyncio.timeout(5):
        assert "broke its pipe" in await heard.closed


async def test_sending_to_an_end_that_is_gone_raises_nothing(ends: Ends) -> None:
    heard = Heard(ends[0])
    ends[1].close()
    heard.pipe.send(Word("hello?"))
    heard.pipe.send(Word("hello?"))
    async with asyncio.timeout(5):
        await heard.closed


async def test_draining_takes_what_came_before_the_end(ends: Ends) -> None:
    heard = Heard(ends[0])
    ends[1].send(encoded("unread"))
    ends[1].close()
    heard.pipe.drain()
    assert heard.words == ["unread"]


def test_a_channel_polls_without_waiting_and_tells_the_end(ends: Ends) -> None:
    channel = Channel(os.dup(ends[1].fileno()), DECODER)
    assert channel.poll() is None
    ends[0].send(encoded("one") + encoded("two")[:5])
    assert channel.poll() == Word("one")
    assert channel.poll() is None
    ends[0].send(encoded("two")[5:])
    assert channel.receive() == Word("two")
    ends[0].close()
    assert channel.receive() is None
    with pytest.raises(EOFError):
        channel.poll()
    channel.close()


def test_a_channel_closes_descriptors_that_nobody_took(ends: Ends) -> None:
    channel = Channel(os.dup(ends[1].fileno()), DECODER)
    with socket.socket() as extra:
        rights = array("i", [extra.fileno()])
        ends[0].sendmsg([encoded("x")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    channel.receive()
    (handle,) = channel.descriptors
    channel.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 30)))
def test_frames_survive_any_cutting(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(frame, bodies))
    unframer, found = Unframer(), []
    for size in cuts:
        found += list(unframer.feed(data[:size]))
        data = data[size:]
    found += list(unframer.feed(data))
    assert found == bodies


def test_a_length_over_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(FrameError, match="4294967295 bytes"):
        list(Unframer().feed(b"\xff\xff\xff\xff"))
