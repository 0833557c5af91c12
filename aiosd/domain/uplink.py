"""What the owner may set of the uplink: the table `[uplink]` of the settings, strict to the key.

Nothing goes up unless `on` is true, an endpoint is given, and `allow` and `users` fit the request;
all of them are empty by default.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.sizes import parse_size

Seconds = Annotated[float, Meta(ge=0.001, le=86_400)]
Price = Annotated[float, Meta(ge=0, le=1e6)]

# No user, password or query: a key belongs into a file, and redirects are not followed anyway.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:%-]+)*)/?"
)
_SIZES = ("bytes_per_day", "max_request", "max_answer", "log_size", "keep_size")
_HIGHEST_PORT = 65_535


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings: frozen, and an unknown key is an error."""


class Place(msgspec.Struct, frozen=True):
    """Where an endpoint is: `host` without brackets, `path` without a slash at its end."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """The address as an owner lists it: host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(url: str) -> Place:
    """Return the place that a base address such as "https://api.example.com/v1" names.

    Raises:
        ValueError: it is none, or holds more than scheme, host, port and path.
    """
    found = _URL.fullmatch(url)
    if not found:
        raise ValueError("an endpoint's url is like https://host:port/v1, without user or query")
    secure = found["scheme"] == "https"
    port = int(found["port"] or (443 if secure else 80))
    if not 1 <= port <= _HIGHEST_PORT:
        raise ValueError(f"{port} is no port")
    return Place(secure, found["host"].strip("[]"), port, found["path"])


class Endpoint(_Table, frozen=True, kw_only=True):
    """One OpenAI-compatible server; `url` is what comes before `/chat/completions`.

    The key comes from a systemd credential or a file of mode 0600; with neither, none is sent.
    Prices are for a million tokens, in `currency`.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    url: Annotated[str, Meta(max_length=500)]
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    key_file: str = ""
    key_credential: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = ""
    ca_file: str = ""
    price_in: Price = 0.0
    price_out: Price = 0.0
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class Uplink(_Table, frozen=True, kw_only=True):
    """Who may reach which endpoints, how often, and what is remembered of it."""

    on: bool = False
    allow: list[str] = msgspec.field(default_factory=list)
    users: list[str] = msgspec.field(default_factory=list)
    endpoints: list[Endpoint] = msgspec.field(default_factory=list)
    plain_http: list[str] = msgspec.field(default_factory=list)
    redact: list[str] = msgspec.field(default_factory=list)
    requests_per_day: Annotated[int, Meta(ge=0, le=10_000_000)] = 100
    bytes_per_day: str = "10 MiB"
    money_per_day: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "USD"
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 1024
    max_request: str = "64 KiB"
    max_answer: str = "1 MiB"
    parallel: Annotated[int, Meta(ge=1, le=32)] = 2
    waiting: Annotated[int, Meta(ge=0, le=1000)] = 16
    connect_seconds: Seconds = 10.0
    first_byte_seconds: Seconds = 60.0
    stall_seconds: Seconds = 30.0
    total_seconds: Seconds = 300.0
    idle_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    failures: Annotated[int, Meta(ge=1, le=100)] = 3
    rest_seconds: Seconds = 30.0
    log_size: str = "1 MiB"
    keep: bool = False
    keep_size: str = "16 MiB"
    keep_key_file: str = ""
    never_keep: list[str] = msgspec.field(default_factory=list)

    def size(self, key: str) -> int:
        """Return a size such as `max_answer` in bytes."""
        return parse_size(getattr(self, key))


class WrongUplinkError(Exception):
    """The table contradicts itself; `key` says where."""

    def __init__(self, key: str, message: str) -> None:
        """Take the key, and one sentence for the owner."""
        super().__init__(f"uplink.{key}: {message}")
        self.key = key


def check_uplink(uplink: Uplink) -> None:
    """Refuse what the types alone let pass; patterns of `redact` are checked where they are built.

    Raises:
        WrongUplinkError: a size or an address is none, two endpoints have one name, or the key of
            one would travel in the clear to an address that `plain_http` does not list.
    """
    for key in _SIZES:
        try:
            uplink.size(key)
        except ValueError as error:
            raise WrongUplinkError(key, str(error)) from error
    for problem in _endpoint_problems(uplink):
        raise problem


def _endpoint_problems(uplink: Uplink) -> Iterator[WrongUplinkError]:
    """Yield what is wrong with the endpoints."""
    if uplink.on and not uplink.endpoints:
        yield WrongUplinkError("on", "there is no endpoint; add an [[uplink.endpoints]]")
    names = [endpoint.name for endpoint in uplink.endpoints]
    for endpoint in uplink.endpoints:
        if names.count(endpoint.name) > 1:
            yield WrongUplinkError("endpoints", f"two endpoints are named {endpoint.name}")
        if endpoint.key_file and endpoint.key_credential:
            yield WrongUplinkError("key_file", f"{endpoint.name} has a key_credential as well")
        try:
            place = place_of(endpoint.url)
        except ValueError as error:
            yield WrongUplinkError("url", f"{endpoint.name}: {error}")
            continue
        if not place.secure and not {place.host, place.address} & set(uplink.plain_http):
            yield WrongUplinkError(
                "url",
                f"{endpoint.name}: without TLS only addresses listed in plain_http are reached; "
                f'list "{place.address}" there, or use https',
            )
