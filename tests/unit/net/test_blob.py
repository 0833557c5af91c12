"""Where files of a repository come from: what is believed of a server, and what is not."""

import gzip
import os
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fakes.mirror import Handler, Mirror, on, serving
from fakes.openai import certificate

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import Body, Origin, Part, WebOrigin, origin_of

DATA = bytes(range(256)) * 1000
WHOLE = Part(0, len(DATA), len(DATA))
MIDDLE = Part(1000, 3000, len(DATA))


def read(body: Body) -> bytes:
    parts = []
    while piece := body.read():
        parts.append(piece)
    return b"".join(parts)


def fault(act: Callable[[], object]) -> Fault:
    with pytest.raises(UpdateError) as caught:
        act()
    return caught.value.fault


def fetch(mirror: Mirror, part: Part | None = WHOLE, *, etag: str = "") -> bytes:
    origin = origin_of(mirror.url, stall_seconds=2.0)
    try:
        return read(origin.open("f", len(DATA), part, etag))
    finally:
        origin.close()


def test_a_file_comes_whole_or_in_part_over_one_connection() -> None:
    with serving({"deep/f": DATA}) as mirror:
        origin = origin_of(f"{mirror.url}/deep", stall_seconds=2.0)
        assert read(origin.open("f", len(DATA), WHOLE)) == DATA
        part = origin.open("f", len(DATA), MIDDLE)
        assert (part.first, read(part)) == (1000, DATA[1000:3000])
        origin.close()
    assert [each.range for each in mirror.asked] == ["", "bytes=1000-2999"]


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_server_that_closes_after_each_file_is_served_well(version: str) -> None:
    def old(handler: Handler) -> None:
        handler.protocol_version = version
        handler.close_connection = True
        handler.answer(200, DATA, {"Connection": "close"})

    with serving({}, on("f", old)) as mirror, closing(origin_of(mirror.url)) as origin:
        for _ in range(3):
            assert read(origin.open("f", len(DATA), WHOLE)) == DATA


def test_a_kept_connection_that_died_meanwhile_is_made_anew() -> None:
    def once(handler: Handler) -> None:
        handler.answer(200, DATA)
        handler.hang_up()

    with serving({"f": DATA}, on("f", once, times=1)) as mirror:
        origin = origin_of(mirror.url, stall_seconds=2.0)
        assert read(origin.open("f", len(DATA), WHOLE)) == DATA
        assert read(origin.open("f", len(DATA), WHOLE)) == DATA
        origin.close()


def test_a_server_without_ranges_gives_the_whole_file_and_that_is_said() -> None:
    with serving({"f": DATA}) as mirror:
        mirror.ranges = False
        with closing(origin_of(mirror.url)) as origin:
            body = origin.open("f", len(DATA), MIDDLE)
            assert (body.first, read(body)) == (0, DATA)


def test_a_part_of_a_state_that_is_gone_comes_as_the_whole_new_file() -> None:
    with serving({"f": DATA}) as mirror:
        with closing(origin_of(mirror.url)) as origin:
            assert origin.open("f", len(DATA), MIDDLE, etag='"older"').first == 0
        assert mirror.asked[0].if_range == '"older"'


def test_a_weak_etag_is_never_sent_back() -> None:
    with serving({"f": DATA}) as mirror:
        fetch(mirror, MIDDLE, etag='W/"x"')
        assert mirror.asked[0].if_range == ""


def test_a_file_that_is_not_there_is_not_found() -> None:
    with serving({}) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.NOT_FOUND


@pytest.mark.parametrize("status", [500, 503, 418])
def test_a_server_that_says_no_is_told_apart(status: int) -> None:
    with serving({}, on("f", lambda handler: handler.answer(status, b""))) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.REFUSED


def test_nobody_there_is_unreachable() -> None:
    with serving({}) as mirror:
        url = mirror.url
    assert fault(lambda: origin_of(url).open("f", 1)) is Fault.UNREACHABLE


def redirect(to: str, times: int = -1) -> Callable[[Handler, str], bool]:
    return on("f", lambda handler: handler.answer(302, b"", {"Location": to}), times)


def test_a_redirect_within_the_same_address_is_followed() -> None:
    with serving({"elsewhere": DATA}, redirect("/elsewhere")) as mirror:
        assert fetch(mirror) == DATA


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/passwd",
        "http://127.0.0.2/f",
        "http://localhost:1/f",
        "https://127.0.0.1/f",
        "ftp://127.0.0.1/f",
        "//evil.example/f",
        "http://user:word@127.0.0.1/f",
        "http://[bad/f",
    ],
)
def test_attack_redirect_to_a_file_or_another_host_is_refused(to: str) -> None:
    # Once only: who asked the same server for the path of that place would be given the file.
    with serving({"f": DATA, "etc/passwd": DATA}, redirect(to, times=1)) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.REDIRECTED
        assert len(mirror.asked) == 1


def test_redirects_without_end_end() -> None:
    with serving({"f": DATA}, redirect("")) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.REDIRECTED
        assert len(mirror.asked) == 4


def test_attack_gzip_bomb_is_refused_before_a_byte_is_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    packed = on("f", lambda handler: handler.answer(200, bomb, {"Content-Encoding": "gzip"}))
    with serving({}, packed) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.PACKED


@pytest.mark.parametrize(
    "said",
    [
        "bytes 0-1999/256000",
        "bytes 1000-2999/256001",
        "bytes 1001-3000/256000",
        "bytes 1000-2998/256000",
        "bytes 1000-2999/*",
        "bytes */256000",
        "items 1000-2999/256000",
        "",
    ],
)
def test_attack_another_content_range_than_asked_is_refused(said: str) -> None:
    lie = on("f", lambda handler: handler.answer(206, DATA[:2000], {"Content-Range": said}))
    with serving({}, lie) as mirror:
        assert fault(lambda: fetch(mirror, MIDDLE)) is Fault.RANGE_LIED


def test_attack_a_partial_answer_that_nobody_asked_for_is_refused() -> None:
    def lie(handler: Handler) -> None:
        handler.answer(206, DATA, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})

    with serving({}, on("f", lie)) as mirror:
        origin = origin_of(mirror.url)
        assert fault(lambda: origin.open("f", len(DATA))) is Fault.RANGE_LIED


def test_attack_endless_data_ends_at_what_was_asked_for() -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    with serving({}, on("f", endless)) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.TOO_LONG


def test_attack_a_file_announced_too_long_is_refused_at_once() -> None:
    with serving({"f": DATA + b"x"}) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.TOO_LONG
        assert fault(lambda: fetch(mirror, None)) is Fault.TOO_LONG


def test_a_file_announced_too_short_is_another_file() -> None:
    with serving({"f": DATA[:-1]}) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.CHANGED


def test_an_answer_that_breaks_off_says_so() -> None:
    def half(handler: Handler) -> None:
        handler.answer(200, DATA[:5000], {"Content-Length": str(len(DATA))})
        handler.hang_up()

    with serving({}, on("f", half)) as mirror:
        assert fault(lambda: fetch(mirror)) is Fault.BROKEN_OFF


class Ticking:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_attack_slow_retrieval_of_headers_has_an_end() -> None:
    def trickle(handler: Handler) -> None:
        handler.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            handler.send(b"x")

    with serving({}, on("f", trickle)) as mirror:
        origin = origin_of(mirror.url)
        assert isinstance(origin, WebOrigin)
        slow = WebOrigin(origin._place, None, 30.0, Ticking())
        began = time.monotonic()
        # A header longer than http.client takes would end it as well, but in other words.
        assert fault(lambda: slow.open("f", len(DATA))) in (Fault.STALLED, Fault.BROKEN_OFF)
        assert time.monotonic() - began < 20.0


def test_silence_has_an_end() -> None:
    with serving({"f": DATA}) as mirror:
        origin = origin_of(mirror.url)
        assert isinstance(origin, WebOrigin)
        plug = WebOrigin(origin._place, None, 0.05)
        mirror.mischief = on("f", lambda handler: handler.connection.recv(1) and None)
        assert fault(lambda: plug.open("f", len(DATA))) is Fault.STALLED


def test_a_server_that_nobody_vouches_for_is_not_trusted(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with serving({"f": DATA}) as mirror:
        mirror._server.socket = context.wrap_socket(mirror._server.socket, server_side=True)
        secure = mirror.url.replace("http:", "https:")
        assert fault(lambda: origin_of(secure).open("f", len(DATA))) is Fault.TLS
        trusted = origin_of(secure, str(pair[0]))
        assert read(trusted.open("f", len(DATA), WHOLE)) == DATA
        trusted.close()


def test_an_authority_that_cannot_be_read_is_said() -> None:
    assert fault(lambda: origin_of("https://a.example", "/nowhere.pem")) is Fault.TLS


@pytest.mark.parametrize("path", ["", "/", "../f", "a/../../f", "%2e%2e/f", "a\nb", "a/%2E%2E/f"])
def test_attack_a_path_that_leaves_the_repository_is_never_asked_for(path: str) -> None:
    with serving({"f": DATA}) as mirror:
        assert fault(lambda: origin_of(f"{mirror.url}/x").open(path, 1)) is Fault.NOT_FOUND
        assert not mirror.asked


def stick(folder: Path) -> Origin:
    return origin_of(f"file://{folder}")


def test_a_stick_serves_as_a_web_server_does(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    origin = stick(tmp_path)
    assert read(origin.open("f", len(DATA), WHOLE)) == DATA
    part = origin.open("f", len(DATA), MIDDLE)
    assert (part.first, read(part)) == (1000, DATA[1000:3000])
    assert read(origin.open("f", len(DATA))) == DATA
    origin.close()
    assert fault(lambda: origin.open("none", 1)) is Fault.NOT_FOUND
    assert fault(lambda: origin.open("../x", 1)) is Fault.NOT_FOUND
    assert fault(lambda: origin.open("f", len(DATA) - 1)) is Fault.TOO_LONG
    assert fault(lambda: origin.open("f", 9, Part(0, 9, 9))) is Fault.CHANGED
    origin.close()


def test_a_pipe_on_a_stick_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    origin = stick(tmp_path)
    assert fault(lambda: origin.open("f", 1)) is Fault.REFUSED
    origin.close()
