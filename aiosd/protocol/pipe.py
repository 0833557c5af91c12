"""Every message on the pipes: daemon ⇄ engine host, and daemon ⇄ worker.

Closing the pipe is a message too: to a worker it means "unload" (exit), to a host "stop".
File descriptors ride along as ancillary data with the frame that mentions them.
"""

import msgspec

from aiosd.domain.confinement import Confinement
from aiosd.domain.inputs import Input
from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.domain.request import Sampling


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """What all pipe messages share: the type tag."""


# ── daemon → host ────────────────────────────────────────────────────────────────────────────


class Spawn(_Message, frozen=True, kw_only=True, tag="spawn"):
    """Fork a worker; its end of a new pipe comes along as a file descriptor."""

    token: int


class Weigh(_Message, frozen=True, kw_only=True, tag="weigh"):
    """Tell what the host and its workers hold together."""


# ── host → daemon ────────────────────────────────────────────────────────────────────────────


class HostReady(_Message, frozen=True, kw_only=True, tag="host_ready"):
    """The engine is imported; workers can be forked."""

    pid: int
    version: str
    import_ms: float
    pss_bytes: int


class Weighed(_Message, frozen=True, kw_only=True, tag="weighed"):
    """What the host and its workers hold beside what each worker has alone (see `Ledger`)."""

    common_bytes: int


class HostFailed(_Message, frozen=True, kw_only=True, tag="host_failed"):
    """The engine cannot be imported; the host exits."""

    reason: str


class Spawned(_Message, frozen=True, kw_only=True, tag="spawned"):
    """A worker was forked."""

    token: int
    pid: int


class Exited(_Message, frozen=True, kw_only=True, tag="exited"):
    """A worker of this host is gone: exit status, or the signal that ended it (else 0)."""

    token: int
    pid: int
    status: int
    signal: int


# ── daemon → worker ──────────────────────────────────────────────────────────────────────────


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The model of another expert: its files in order, and the names of those to hash first."""

    folder: str
    files: tuple[PackageFile, ...]
    verify: list[str]


class LoadExpert(_Message, frozen=True, kw_only=True, tag="load"):
    """Become this expert: enter the control groups, hash the files named in `verify`, then load.

    `groups` are the files to which a process writes its pid to enter one. `awaited` says that a
    request waits for it: what a small package holds is then measured after that. A `gentle` worker
    loads only while others leave the processor idle, until the daemon gives it its turn.
    """

    manifest: Manifest
    folder: str
    threads: int
    verify: list[str]
    groups: list[str] = msgspec.field(default_factory=list)
    base: Base | None = None
    awaited: bool = False
    gentle: bool = False


class RunRequest(_Message, frozen=True, kw_only=True, tag="run"):
    """Answer one request; `payload` is the input's bytes unless they came as a descriptor.

    `threads` and `duty` are what may be used for it until a `Pace` says otherwise.
    """

    id: int
    input: Input
    sampling: Sampling
    top_k: int | None
    stream: bool
    threads: int = 1
    duty: float = 1.0
    payload: bytes | None = None
    descriptor_bytes: int | None = None


class CancelRequest(_Message, frozen=True, kw_only=True, tag="cancel"):
    """Stop answering this request; it still ends with `failed` or `done`."""

    id: int


class Park(_Message, frozen=True, kw_only=True, tag="park"):
    """Give back what only an answer needs, and with `pages` the model's mapped pages; stay."""

    pages: bool


class Resume(_Message, frozen=True, kw_only=True, tag="resume"):
    """Take back what parking gave up; a request may follow at once."""


class Pace(_Message, frozen=True, kw_only=True, tag="pace"):
    """From the next step of the request on, use so many threads, and rest in between.

    `duty` is the share of the time (0 to 1) that may be worked.
    """

    threads: int
    duty: float


# ── worker → daemon ──────────────────────────────────────────────────────────────────────────


class WorkerReady(_Message, frozen=True, kw_only=True, tag="ready"):
    """The expert is loaded; what that took, what it holds, and whether it can be parked.

    Of what it holds, `mapped_bytes` are a file's pages that nobody else has mapped. Where it was
    not measured yet a `Measured` follows, once nobody waits for the worker.
    """

    pid: int
    engine: str
    load_ms: float
    pss_bytes: int
    own_bytes: int
    verified: list[str]
    confinement: Confinement
    measured: bool = True
    mapped_bytes: int = 0
    parks: bool = False


class LoadFailed(_Message, frozen=True, kw_only=True, tag="load_failed"):
    """The expert cannot be loaded, or a parked one not resumed; the worker exits."""

    reason: str


class Piece(_Message, frozen=True, kw_only=True, tag="piece"):
    """A piece of streamed text."""

    id: int
    text: str


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    """The answer to a request, with the worker's share of the usage."""

    id: int
    output: dict[str, object]
    run_ms: float
    engine_ms: float
    cpu_ms: float | None = None
    first_token_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


class Measured(_Message, frozen=True, kw_only=True, tag="measured"):
    """What the worker's process holds by now; sent between requests."""

    pss_bytes: int
    own_bytes: int
    mapped_bytes: int = 0


class Parked(_Message, frozen=True, kw_only=True, tag="parked"):
    """What the worker's process still holds, now that it is parked."""

    pss_bytes: int
    own_bytes: int
    mapped_bytes: int = 0


class Resumed(_Message, frozen=True, kw_only=True, tag="resumed"):
    """The worker can answer again; what its context took, and its pages if they had to come."""

    context_ms: float
    pages_ms: float | None = None


class Failed(_Message, frozen=True, kw_only=True, tag="failed"):
    """A request that could not be answered; the worker lives on."""

    id: int
    code: str
    message: str
    details: dict[str, str | int | float | bool | list[str]]


ToHost = Spawn | Weigh
FromHost = HostReady | HostFailed | Spawned | Exited | Weighed
ToWorker = LoadExpert | RunRequest | CancelRequest | Park | Resume | Pace
FromWorker = WorkerReady | LoadFailed | Piece | Done | Measured | Parked | Resumed | Failed
