"""Every message between a client and the daemon, version 1 of the wire; see docs/protocol.md.

A message is ZeroMQ frames: the id (1 to 64 bytes, the client's choice), the header (one
MessagePack map with the keys `v` and `t`), then attachments. Unknown keys are ignored, so that an
older side survives a newer one.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.errors import ERRORS, AiosdError, Detail, ErrorCode, ExpertFailedError
from aiosd.domain.inputs import Input
from aiosd.domain.request import Options, Outcome

VERSION = 1
UplinkAction = Literal["status", "on", "off", "log"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """What all messages share: the type tag `t` and the version `v`."""

    v: int = VERSION


# ── client → daemon, on either socket ────────────────────────────────────────────────────────


class Run(_Message, frozen=True, kw_only=True, tag="run"):
    """Ask a question; answered by chunks (if streamed), then one `end` or `error`."""

    input: Input
    expert: str | None = None
    task: str | None = None
    options: Options = Options()


class Cancel(_Message, frozen=True, kw_only=True, tag="cancel"):
    """Stop the request of the same id; the request itself ends with `cancelled`."""


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """Ask whether the daemon lives."""


class List(_Message, frozen=True, kw_only=True, tag="list"):
    """Ask for the installed experts."""


class Show(_Message, frozen=True, kw_only=True, tag="show"):
    """Ask for everything known of one expert."""

    expert: str


class Ps(_Message, frozen=True, kw_only=True, tag="ps"):
    """Ask for the loaded experts and the engine hosts."""


class Status(_Message, frozen=True, kw_only=True, tag="status"):
    """Ask for the daemon's own condition: caps, books, counts, board."""


class Energy(_Message, frozen=True, kw_only=True, tag="energy"):
    """Ask where the joules went: meter, idle, others, each expert and client."""


class Explain(_Message, frozen=True, kw_only=True, tag="explain"):
    """Ask who would answer a text and why; nothing is run and nothing is counted."""

    text: str
    task: str | None = None
    options: Options = Options()


class Feedback(_Message, frozen=True, kw_only=True, tag="feedback"):
    """Say whether the answer to a routed request was good; `id` is its decision's, once each."""

    id: int
    good: bool


# ── operator → daemon, on the admin socket only ──────────────────────────────────────────────


class Load(_Message, frozen=True, kw_only=True, tag="load"):
    """Load an expert now; answered when it is ready.

    With `ram_bytes` that is what it is reckoned to need, whatever was computed or measured before.
    """

    expert: str
    ram_bytes: Annotated[int, Meta(ge=1, le=2**50)] | None = None


class Unload(_Message, frozen=True, kw_only=True, tag="unload"):
    """Unload an expert once it is idle, pinned or not."""

    expert: str


class Pin(_Message, frozen=True, kw_only=True, tag="pin"):
    """Keep an expert loaded: never evict it, never let it idle out."""

    expert: str
    pinned: bool = True


class Decisions(_Message, frozen=True, kw_only=True, tag="decisions"):
    """Ask for the records of the last routing decisions, the newest first; no text is in them."""

    last: int = 20


class Reload(_Message, frozen=True, kw_only=True, tag="reload"):
    """Read settings and packages again, as SIGHUP does."""


class Uplink(_Message, frozen=True, kw_only=True, tag="uplink"):
    """Look at the uplink or at what left last, or switch it on or off until told otherwise."""

    action: UplinkAction = "status"
    lines: Annotated[int, Meta(ge=1, le=1000)] = 20


class Power(_Message, frozen=True, kw_only=True, tag="power"):
    """Ask for the board's power mode and clock limits, or set one, by the privileged helper.

    `mode` is a power mode by name. `khz` limits the clock of `policy`, of all policies without
    one; 0 gives it back as the helper found it.
    """

    mode: str | None = None
    policy: str | None = None
    khz: int | None = None


class Staged(_Message, frozen=True, kw_only=True, tag="staged"):
    """Say that a release of an expert lies whole on the disk: it is to be probed and swapped in.

    The updater's word; answered at once.
    """

    expert: Annotated[str, Meta(max_length=64)]
    release: Annotated[int, Meta(ge=1, le=2**50)]


class Rollback(_Message, frozen=True, kw_only=True, tag="rollback"):
    """Go back to the release before; answered when that serves. The present one is not kept."""

    expert: Annotated[str, Meta(max_length=64)]


class CancelRelease(_Message, frozen=True, kw_only=True, tag="cancel_release"):
    """Give up a release that is not committed yet; nothing is held against it."""

    expert: Annotated[str, Meta(max_length=64)]


class Hold(_Message, frozen=True, kw_only=True, tag="hold"):
    """Keep an expert at the release that serves, or let updates come again."""

    expert: Annotated[str, Meta(max_length=64)]
    on: bool = True


class History(_Message, frozen=True, kw_only=True, tag="history"):
    """Ask how releases fared, of one expert or of all, the newest first."""

    expert: Annotated[str, Meta(max_length=64)] | None = None


class Rollouts(_Message, frozen=True, kw_only=True, tag="rollouts"):
    """Ask how far each expert's last release has come, and which experts are held."""


# ── daemon → client ──────────────────────────────────────────────────────────────────────────


class Chunk(_Message, frozen=True, kw_only=True, tag="chunk"):
    """A piece of a streamed answer, counted from 0."""

    n: int
    text: str


class End(_Message, frozen=True, kw_only=True, tag="end"):
    """The end of a request that was answered."""

    outcome: Outcome


class Error(_Message, frozen=True, kw_only=True, tag="error"):
    """The end of a request that was not answered: the code, one sentence, and the facts."""

    code: str
    message: str
    details: dict[str, str | int | float | bool | list[str]] = msgspec.field(default_factory=dict)


class Reply(_Message, frozen=True, kw_only=True, tag="reply"):
    """The answer to a verb that is not `run`."""

    body: dict[str, object]


Verb = (
    Run
    | Cancel
    | Ping
    | List
    | Show
    | Ps
    | Status
    | Energy
    | Explain
    | Feedback
    | Decisions
    | Load
    | Unload
    | Pin
    | Reload
    | Power
    | Uplink
    | Staged
    | Rollback
    | CancelRelease
    | Hold
    | History
    | Rollouts
)
ReleaseVerb = Staged | Rollback | CancelRelease | Hold | History | Rollouts
Answer = Chunk | End | Error | Reply
_RELEASES = (Staged, Rollback, CancelRelease, Hold, History, Rollouts)
ADMIN_ONLY = (Load, Unload, Pin, Reload, Decisions, Power, Uplink, *_RELEASES)


def error_message(error: AiosdError) -> Error:
    """Return the message that carries `error`."""
    return Error(code=error.code, message=error.message, details=error.details)


def error_of(message: Error) -> AiosdError:
    """Return the exception that `message` carries; an unknown code becomes `expert_failed`."""
    details: dict[str, Detail] = dict(message.details)
    text = message.message
    try:
        kind = ERRORS[ErrorCode(message.code)]
    except ValueError:
        kind, text = ExpertFailedError, f"{message.code}: {text}"
    error = kind(text)
    # Not as keywords: what comes from outside may be named like a parameter.
    error.details.update(details)
    return error
