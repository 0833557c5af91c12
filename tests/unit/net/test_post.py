"""One POST: whom it trusts, and how it ends."""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.openai import HEAD, FakeOpenai, certificate, raw, status

from aiosd.domain.uplink import Place, place_of
from aiosd.net.post import NetError, Patience, Post, tls_context

PATIENCE = Patience(connect=5.0, first_byte=5.0, stall=5.0)


def post(place: Place, ca_file: Path | None = None, patience: Patience = PATIENCE) -> Post:
    trust = tls_context(str(ca_file or "")) if place.secure else None
    return Post(place, patience, trust, time.monotonic() + 10.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def secure(pair: tuple[Path, Path]) -> Iterator[FakeOpenai]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with FakeOpenai(context=context, last=raw(HEAD, b"data: x\n\n")) as made:
        yield made


def send(one: Post, body: bytes = b"{}") -> bytes:
    try:
        one.send("/chat", body, {"X-Key": "secret"})
        return one.read()
    finally:
        one.close()


def test_a_server_that_the_owners_authority_vouches_for_is_trusted(
    secure: FakeOpenai, pair: tuple[Path, Path]
) -> None:
    assert send(post(place_of(secure.url), pair[0])) == b"data: x\n\n"
    assert secure.asked[0].line == "POST /v1/chat HTTP/1.1"
    assert secure.asked[0].headers["host"] == secure.address


def test_a_server_that_nobody_vouches_for_hears_nothing(secure: FakeOpenai) -> None:
    with pytest.raises(NetError, match="not trusted") as caught:
        send(post(place_of(secure.url)))
    assert caught.value.stage == "tls"
    assert secure.asked == []


def test_a_server_of_another_name_hears_nothing(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "DNS:other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with FakeOpenai(context=context) as server:
        with pytest.raises(NetError, match="not trusted"):
            send(post(place_of(server.url), cert))
        assert server.asked == []


def test_who_speaks_no_tls_where_tls_is_meant_hears_nothing() -> None:
    with FakeOpenai() as server:
        place = place_of(server.url.replace("http:", "https:"))
        with pytest.raises(NetError, match="tls:"):
            send(post(place, patience=Patience(0.5, 5.0, 5.0)))
        assert server.asked == []


def test_a_handshake_that_stalls_is_given_up() -> None:
    with FakeOpenai() as server:
        place = place_of(server.url.replace("http:", "https:"))
        with pytest.raises(NetError, match="tls:"):
            send(post(place, patience=Patience(0.3, 5.0, 5.0)))


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with FakeOpenai() as elsewhere, FakeOpenai() as server:
        server.scripts = [status(307, Location=elsewhere.url)]
        one = post(place_of(server.url))
        assert one.send("/chat", b"{}", {}).is_error
        one.close()
        assert elsewhere.asked == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOpenai() as proxy, FakeOpenai() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        send(post(place_of(server.url)), b'{"messages": [{"content": "x"}]}')
        assert proxy.asked == []
        assert len(server.asked) == 1


def test_a_header_that_would_be_two_is_refused_and_not_quoted() -> None:
    with FakeOpenai() as server:
        one = post(place_of(server.url))
        with pytest.raises(NetError) as caught:
            one.send("/chat", b"{}", {"X-Key": "sk-secret\r\nInjected: x"})
        one.close()
        assert "sk-secret" not in str(caught.value)
        assert server.asked == []


@pytest.mark.parametrize("secured", [False, True])
def test_another_thread_ends_it_while_it_waits(
    secure: FakeOpenai, pair: tuple[Path, Path], *, secured: bool
) -> None:
    with FakeOpenai() as plain:
        server = secure if secured else plain
        server.scripts = [server.stall(HEAD)]
        one = post(place_of(server.url), pair[0])
        failed: list[NetError] = []

        def wait() -> None:
            with pytest.raises(NetError) as caught:
                send(one)
            failed.append(caught.value)

        thread = threading.Thread(target=wait)
        thread.start()
        server.wait_for(1)
        one.abort()
        thread.join(10)
        assert failed


def test_a_time_that_is_over_begins_nothing() -> None:
    with FakeOpenai() as server:
        one = Post(place_of(server.url), PATIENCE, None, time.monotonic())
        with pytest.raises(NetError, match="the time was up"):
            one.send("/chat", b"{}", {})
        one.close()
        assert server.asked == []


def test_an_authority_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "none"):
        with pytest.raises(OSError, match=r".*"):
            tls_context(str(path))
