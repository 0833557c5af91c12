"""What the owner may set of updates, the table `[update]`, and why one does not go on."""

import re
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.sizes import parse_size
from aiosd.domain.uplink import place_of

Seconds = Annotated[float, Meta(ge=1, le=86_400)]

_FILE = re.compile(r"file://(?P<path>/[^\x00-\x1f]*)")
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]")
_SIZES = ("rate", "least_rate", "reserve", "day_budget", "metered_budget", "largest")


class Fault(StrEnum):
    """Why an update does not go on; the words of `aiosctl update status` and of the tests."""

    # Trust: what the repository says is not believed.
    UNSIGNED = "unsigned"  # too few good signatures
    EXPIRED = "expired"  # nothing newer is offered: a freeze, or a publisher who sleeps
    ROLLBACK = "rollback"  # an older state than one that was seen before
    MISMATCH = "mismatch"  # length or hash is not what was signed
    BAD_METADATA = "bad_metadata"  # not to be read at all
    CLOCK_UNTRUSTED = "clock_untrusted"  # this board's clock is before a time that has been
    UNKNOWN_TARGET = "unknown_target"  # nobody who may vouches for it
    WRONG_RELEASE = "wrong_release"  # signed, but not what its name says, or not for this board
    # Transport: bytes do not come as they should.
    UNREACHABLE = "unreachable"
    TLS = "tls"
    REFUSED = "refused"  # the server says no
    NOT_FOUND = "not_found"
    REDIRECTED = "redirected"  # to another place, which nobody follows
    PACKED = "packed"  # a content encoding, which was not asked for
    RANGE_LIED = "range_lied"  # another part than was asked for
    CHANGED = "changed"  # the file is another than before
    TOO_LONG = "too_long"
    BROKEN_OFF = "broken_off"
    STALLED = "stalled"
    TOO_SLOW = "too_slow"
    # This board.
    NO_ROOM = "no_room"
    DISK = "disk"
    SWAPPED = "swapped"  # a file changed behind our back
    METERED = "metered"
    OUT_OF_WINDOW = "out_of_window"
    OVER_BUDGET = "over_budget"
    CANCELLED = "cancelled"
    LOCKED = "locked"  # another updater runs


# A clock may be so far behind the latest time that has been. Boards without a clock of their own
# begin with what fake-hwclock kept, once an hour, and time servers set clocks back by seconds.
CLOCK_SLACK_SECONDS = 3600.0

# Trying again later may help; the others need somebody: the publisher, the owner, or the network.
PASSING = frozenset(
    {
        Fault.UNREACHABLE,
        Fault.TLS,
        Fault.REFUSED,
        Fault.NOT_FOUND,
        Fault.BROKEN_OFF,
        Fault.STALLED,
        Fault.TOO_SLOW,
        Fault.CHANGED,
        Fault.NO_ROOM,
        Fault.METERED,
        Fault.OUT_OF_WINDOW,
        Fault.OVER_BUDGET,
        Fault.LOCKED,
    }
)


class UpdateError(Exception):
    """An update does not go on: `fault` for programs, one sentence for people.

    Whatever it is, the release that is active stays so.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        """Take the word, and the sentence."""
        super().__init__(f"{fault}: {message}")
        self.fault = fault
        self.message = message

    @property
    def passing(self) -> bool:
        """Whether the same may work later without anybody doing anything."""
        return self.fault in PASSING


class Update(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table: where releases come from, how fast and when; an empty `url` means no updates.

    `url` is a folder at a web server, or of a USB stick (file://). `root` is the file with the
    owner's own copy of the publisher's root keys, which everything is checked against. `experts`
    empty: those that are installed. Sizes are like "512 MiB"; "0" is no limit, and for
    `metered_budget` nothing at all.
    """

    url: Annotated[str, Meta(max_length=500)] = ""
    channel: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = "stable"
    root: str = "/etc/aiosd/update-root.json"
    ca_file: str = ""
    experts: list[str] = msgspec.field(default_factory=list)
    rate: str = "0"
    least_rate: str = "1 KiB"
    stall_seconds: Seconds = 30.0
    window: list[str] = msgspec.field(default_factory=list)
    metered: Literal["auto", "yes", "no"] = "auto"
    metered_budget: str = "0"
    day_budget: str = "0"
    reserve: str = "256 MiB"
    largest: str = "8 GiB"
    device_id: Annotated[str, Meta(max_length=200)] = ""
    hawkbit: Annotated[str, Meta(max_length=500)] = ""
    hawkbit_token_file: str = ""

    @property
    def on(self) -> bool:
        """Whether there is anywhere to get releases from."""
        return bool(self.url)

    def size(self, key: str) -> int:
        """Return a size such as `rate` in bytes."""
        return parse_size(getattr(self, key))


class WrongUpdateError(Exception):
    """The table contradicts itself; `key` says where."""

    def __init__(self, key: str, message: str) -> None:
        """Take the key, and one sentence for the owner."""
        super().__init__(f"update.{key}: {message}")
        self.key = key


def check_update(update: Update) -> None:
    """Refuse what the types alone let pass.

    Raises:
        WrongUpdateError: a size, a window or an address is none.
    """
    for key in _SIZES:
        try:
            update.size(key)
        except ValueError as error:
            raise WrongUpdateError(key, str(error)) from error
    for window in update.window:
        if not _WINDOW.fullmatch(window):
            raise WrongUpdateError(
                "window", f'{window!r} is no window; write it like "22:00-05:30"'
            )
    if update.url and folder_of(update.url) is None:
        try:
            place_of(update.url)
        except ValueError:
            raise WrongUpdateError(
                "url", "is like https://host/path or file:///media/stick, without user or query"
            ) from None
    if update.hawkbit:
        try:
            place_of(update.hawkbit)
        except ValueError:
            raise WrongUpdateError(
                "hawkbit", "is like https://host/TENANT/controller/v1/DEVICE, without query"
            ) from None
    if update.url and not update.root:
        raise WrongUpdateError("root", "names the file with the publisher's root keys")


def folder_of(url: str) -> str | None:
    """Return the folder that a file:// address names; None for other addresses."""
    found = _FILE.fullmatch(url)
    return found["path"] if found else None
