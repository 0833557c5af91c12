"""What `aiosctl doctor` looks at of the way up: who may go, and whether anybody would answer."""

from collections.abc import Callable, Iterator, Mapping

from aiosd.cli.check import Check, fail, ok, warn
from aiosd.cli.look import Body, rows_of, word
from aiosd.domain.errors import AiosdError


def uplink_checks(look: Callable[[], Body] | None) -> Iterator[Check]:
    """Check how the uplink stands; `look` is the operator's verb, None for who may not use it."""
    if look is None:
        yield ok("uplink", "only operators may look at it")
        return
    try:
        body = look()
    except AiosdError as error:
        yield warn("uplink", error.message, "aiosctl uplink status says more")
        return
    if not body.get("on"):
        yield ok("uplink", f"off, nothing leaves the board: {word(body, 'why')}")
        return
    yield from _who(body)
    yield from _where(body)


def _who(body: Body) -> Iterator[Check]:
    """Check that anything may go up at all, and what is left of the day."""
    for key, what in (("allow", "no kind of request"), ("users", "nobody")):
        if body.get(key) == []:
            yield warn("uplink", f"on, but {what} may go up", f"set uplink.{key}, or uplink.on off")
    if body.get("why"):
        yield warn("uplink", word(body, "why"), "journalctl -u aiosd -u aiosd-uplink says more")
    today = body.get("today")
    if isinstance(today, Mapping):
        if today.get("damaged"):
            found = "its budget file was damaged, so today counts as used up"
            yield warn("uplink budget", found, "it starts anew at midnight UTC")
        used = [
            name
            for name in ("requests", "bytes", "money")
            if 0 < _number(today, f"{name}_per_day") <= _number(today, name)
        ]
        if used:
            yield warn(
                "uplink budget",
                f"used up for today: {', '.join(used)}",
                f"raise uplink.{used[0]}_per_day, or wait until midnight UTC",
            )


def _where(body: Body) -> Iterator[Check]:
    """Check each endpoint; one that has a problem is never asked."""
    endpoints = rows_of(body, "endpoints")
    usable = [row for row in endpoints if not row.get("problem")]
    for row in endpoints:
        label = f"uplink {word(row, 'name')}"
        if row.get("problem"):
            verdict = warn if usable else fail
            yield verdict(label, word(row, "problem"), "correct it, then: aiosctl uplink off, on")
        elif row.get("state") == "ready":
            yield ok(label, f"{word(row, 'model')} at {word(row, 'address')}, not tried now")
        else:
            yield warn(label, f"{word(row, 'state')} after failures", "is its server up?")


def _number(body: Mapping[str, object], key: str) -> float:
    """Return a number of a body, 0 where there is none."""
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
