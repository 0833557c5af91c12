"""The endpoints, in the owner's order: who may be asked now, and at what price."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from aiosd.domain.uplink import Endpoint, Place, Uplink, place_of
from aiosd.net.post import Trust, tls_context
from aiosd.policy.outbound.breaker import Breaker, BreakerRules
from aiosd.protocol.openai import Tokens
from aiosd.uplink.keys import Key, KeyRefusedError, read_key

# The longest rest that an endpoint may ask for by Retry-After.
LONGEST_REST_SECONDS = 3600.0


@dataclass
class Door:
    """One endpoint; one with a `problem` is never asked."""

    endpoint: Endpoint
    place: Place
    breaker: Breaker
    key: Key | None = None
    trust: Trust | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """The owner's name for it."""
        return self.endpoint.name

    @property
    def priced(self) -> bool:
        """Whether it costs money."""
        return bool(self.endpoint.price_in or self.endpoint.price_out)

    def micros(self, tokens: Tokens) -> int:
        """Return what so many tokens cost, in millionths of the currency, rounded up.

        Prices are for a million tokens, so that a token's price is a number of millionths.
        """
        endpoint = self.endpoint
        cost = (
            tokens.prompt_tokens * endpoint.price_in + tokens.completion_tokens * endpoint.price_out
        )
        return -int(-cost // 1)


def open_doors(uplink: Uplink, credentials: str) -> list[Door]:
    """Return the endpoints; what is wrong with one is its `problem`, and the others still serve."""
    rules = BreakerRules(uplink.failures, uplink.rest_seconds)
    doors = []
    for endpoint in uplink.endpoints:
        door = Door(endpoint, place_of(endpoint.url), Breaker(rules))
        try:
            door.key = read_key(endpoint, credentials)
            if door.place.secure:
                door.trust = tls_context(endpoint.ca_file)
        except KeyRefusedError as error:
            door.problem = f"key refused: {error}"
        except OSError as error:
            door.problem = f"ca_file {endpoint.ca_file}: {error.strerror or type(error).__name__}"
        doors.append(door)
    return doors


def retry_after(header: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), bounded.

    `now` is in seconds since 1970. None where there is no such header, or nobody can read it.
    """
    if header.isascii() and header.isdecimal():
        return min(float(header[:9]), LONGEST_REST_SECONDS)
    try:
        seconds = parsedate_to_datetime(header).timestamp() - now
    except (ValueError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_REST_SECONDS)
