"""The owner's table: what contradicts itself is refused before anything can leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.uplink import Endpoint, Place, Uplink, WrongUplinkError, check_uplink, place_of


def endpoint(url: str = "https://a.example/v1", name: str = "a", **facts: str) -> Endpoint:
    return Endpoint(name=name, url=url, model="m", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.example.com/v1", Place(True, "api.example.com", 443, "/v1")),  # noqa: FBT003
        ("https://api.example.com", Place(True, "api.example.com", 443, "")),  # noqa: FBT003
        ("http://192.168.1.20:8000/v1/", Place(False, "192.168.1.20", 8000, "/v1")),  # noqa: FBT003
        ("https://[fe80::1]:9/a/b", Place(True, "fe80::1", 9, "/a/b")),  # noqa: FBT003
    ],
)
def test_an_address_is_taken_apart(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://a/v1",
        "https://user:key@a/v1",
        "https://a/v1?key=x",
        "https://a/v1#x",
        "https://a b/v1",
        "https://a/\r\nInjected: x",
        "https://a:99999/v1",
        "https://a:0/v1",
        "https:///v1",
        "HTTPS://a/v1\n",
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"url is like|no port"):
        place_of(url)


@given(st.text(max_size=30))
def test_no_text_becomes_a_header_of_its_own(text: str) -> None:
    try:
        place = place_of(f"https://{text}")
    except ValueError:
        return
    assert not set(place.host + place.path) & set(" \r\n\t@?#\0")


@pytest.mark.parametrize(
    ("uplink", "key"),
    [
        (Uplink(on=True), "on"),
        (Uplink(endpoints=[endpoint(), endpoint()]), "endpoints"),
        (Uplink(endpoints=[endpoint("http://a:8000/v1")]), "url"),
        (Uplink(endpoints=[endpoint("http://a:8000/v1")], plain_http=["a:8001", "b"]), "url"),
        (Uplink(endpoints=[endpoint("nonsense")]), "url"),
        (Uplink(endpoints=[endpoint(key_file="/k", key_credential="k")]), "key_file"),
        (Uplink(max_answer="much"), "max_answer"),
        (Uplink(bytes_per_day="-1"), "bytes_per_day"),
    ],
)
def test_what_contradicts_itself_is_named(uplink: Uplink, key: str) -> None:
    with pytest.raises(WrongUplinkError) as caught:
        check_uplink(uplink)
    assert caught.value.key == key


def test_what_fits_together_passes() -> None:
    check_uplink(Uplink())
    plain = [endpoint("http://a:8000/v1"), endpoint("http://[::1]:8000/v1", "b")]
    check_uplink(Uplink(on=True, endpoints=plain, plain_http=["a", "[::1]:8000"]))
