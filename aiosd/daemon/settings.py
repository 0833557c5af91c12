"""What the owner may set: `/etc/aiosd/aiosd.toml`, strict to the key, read at start and on SIGHUP.

Every setting stands with its default and its meaning in `docs/aiosd.sample.toml`; a test keeps the
two in step.
"""

import os
import pwd
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.errors import ConfigError
from aiosd.domain.sizes import parse_size
from aiosd.domain.update import Update, WrongUpdateError, check_update
from aiosd.domain.uplink import Uplink, WrongUplinkError, check_uplink
from aiosd.protocol.toml import decode_toml
from aiosd.store.layout import Layout

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings: frozen, and an unknown key is an error."""


class Paths(_Table, frozen=True, kw_only=True):
    """Where things lie; empty means the place the package was built for."""

    experts: list[str] = msgspec.field(default_factory=list)
    profiles: list[str] = msgspec.field(default_factory=list)
    state: str = ""
    sockets: str = ""


class Sockets(_Table, frozen=True, kw_only=True):
    """Who may open the sockets, when systemd does not open them for us."""

    mode: Annotated[str, Meta(pattern=r"^0[0-7]{3}$")] = "0660"
    group: str = ""
    admin_group: str = ""


class Ram(_Table, frozen=True, kw_only=True):
    """The cap on all experts together: "auto" or a size such as "512 MiB".

    `groups`: whether each worker gets a control group of its own, where one may be made. `needs`:
    sizes by the name of an expert, which are taken for what it needs before it was measured.
    """

    cap: str = "auto"
    groups: Literal["auto", "off"] = "auto"
    needs: dict[str, str] = msgspec.field(default_factory=dict)


class Board(_Table, frozen=True, kw_only=True):
    """The board profile ("auto" picks it by the device tree), and where /sys and /proc are.

    `sysroot` is for simulated boards: the folder that stands for the root of the board's own files.
    """

    profile: str = "auto"
    sysroot: str = "/"


class Power(_Table, frozen=True, kw_only=True):
    """Caps on the board's power, where it has a meter or a model of it; 0 is no cap.

    `helper` lets aiosd-powerd set clock limits and power modes for the daemon.
    """

    cap_watts: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    joules_per_hour: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    helper: bool = False


class Engines(_Table, frozen=True, kw_only=True):
    """How workers are made, and how many threads all may use together (0: as the profile says)."""

    hosts: Literal["auto", "on", "off"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=64)] = 0
    start_hosts: bool = True


class Experts(_Table, frozen=True, kw_only=True):
    """How long an idle expert stays loaded (negative: until evicted), and who is always there.

    One that can be parked is after `park_after_seconds`; negative: only when its room is needed.
    """

    keep_alive_seconds: Annotated[float, Meta(ge=-1, le=604_800)] = 300.0
    park_after_seconds: Annotated[float, Meta(ge=-1, le=604_800)] = 120.0
    preload: list[str] = msgspec.field(default_factory=list)
    pin: list[str] = msgspec.field(default_factory=list)
    load_limit_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0


class Queue(_Table, frozen=True, kw_only=True):
    """How many requests may wait, with how many bytes, how they are gathered, how many run."""

    per_client: Count = 32
    total: Count = 512
    max_bytes: str = "64 MiB"
    gather_seconds: Seconds = 0.25
    running: Annotated[int, Meta(ge=0, le=1024)] = 0
    power_seconds: Seconds = 30.0


class Wire(_Table, frozen=True, kw_only=True):
    """How large an attachment may be, and how much one client may leave unread."""

    max_attachment: str = "32 MiB"
    unread_messages: Count = 200
    max_deadline_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0


class Restart(_Table, frozen=True, kw_only=True):
    """How a failing expert is rested."""

    first_rest_seconds: Seconds = 10.0
    longest_rest_seconds: Seconds = 300.0
    crashes: Count = 3
    window_seconds: Seconds = 60.0


class Stop(_Table, frozen=True, kw_only=True):
    """How long SIGTERM waits for requests, and a cancelled request for its worker."""

    drain_seconds: Seconds = 20.0
    interrupt_grace_seconds: Seconds = 5.0


class Rollout(_Table, frozen=True, kw_only=True):
    """How a new release is tried out before it serves for good.

    The first `canary_requests` to its expert go to it, for `canary_seconds` at most; more than
    `canary_failures` that it fails, or too many answers that take `slow_factor` times as long as
    95 of 100 of the old release, bring the old one back. Where both have no room, a request waits
    `hold_seconds` at most while the new one is probed.
    """

    canary_requests: Annotated[int, Meta(ge=0, le=100_000)] = 20
    canary_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    canary_failures: Annotated[int, Meta(ge=0, le=100_000)] = 0
    slow_factor: Annotated[float, Meta(ge=1, le=1000)] = 3.0
    probe_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    hold_seconds: Annotated[float, Meta(ge=0, le=3600)] = 30.0


class Store(_Table, frozen=True, kw_only=True):
    """How much of the disk releases may take; "0" keeps nothing that is not needed."""

    budget: str = "0"


class Log(_Table, frozen=True, kw_only=True):
    """How much is said in the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Table, frozen=True, kw_only=True):
    """The whole file; a missing file means all defaults."""

    paths: Paths = Paths()
    sockets: Sockets = Sockets()
    ram: Ram = Ram()
    board: Board = Board()
    power: Power = Power()
    engines: Engines = Engines()
    experts: Experts = Experts()
    queue: Queue = Queue()
    wire: Wire = Wire()
    restart: Restart = Restart()
    stop: Stop = Stop()
    uplink: Uplink = Uplink()
    update: Update = Update()
    rollout: Rollout = Rollout()
    store: Store = Store()
    log: Log = Log()

    @property
    def ram_cap_bytes(self) -> int | None:
        """The cap in bytes, or None for the profile's."""
        return None if self.ram.cap == "auto" else parse_size(self.ram.cap)

    @property
    def needs(self) -> dict[str, int]:
        """What the owner says that experts need, in bytes."""
        return {name: parse_size(size) for name, size in self.ram.needs.items()}

    @property
    def store_budget_bytes(self) -> int | None:
        """What the store may take before older releases go; None keeps only what is needed."""
        return parse_size(self.store.budget) or None

    @property
    def queue_bytes(self) -> int:
        """How many bytes of inputs may be held for requests that are not answered yet."""
        return parse_size(self.queue.max_bytes)

    @property
    def attachment_bytes(self) -> int:
        """The largest attachment in bytes."""
        return parse_size(self.wire.max_attachment)

    def layout(self) -> Layout:
        """Return the paths, the owner's before the built-in ones."""
        default = Layout()
        paths = self.paths
        return Layout(
            experts=tuple(map(Path, paths.experts)) or default.experts,
            profiles=tuple(map(Path, paths.profiles)) or default.profiles,
            settings=default.settings,
            state=Path(paths.state) if paths.state else default.state,
            sockets=Path(paths.sockets) if paths.sockets else default.sockets,
        )


def read_settings(path: Path, *, must_exist: bool) -> Settings:
    """Return the settings in `path`; all defaults where it may be absent and is.

    Raises:
        ConfigError: the file is unreadable or wrong; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must_exist:
            raise ConfigError("there is no such file", path=str(path)) from None
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=str(path)) from error
    settings = decode_toml(text, Settings, path=str(path))
    for key, value in (
        ("cap", settings.ram.cap),
        ("max_attachment", settings.wire.max_attachment),
        ("max_bytes", settings.queue.max_bytes),
        ("budget", settings.store.budget),
        *settings.ram.needs.items(),
    ):
        if key != "cap" or value != "auto":
            try:
                parse_size(value)
            except ValueError as error:
                raise ConfigError(str(error), path=str(path), line=_line(text, key)) from error
    _check_uplink(settings.uplink, text, path)
    try:
        check_update(settings.update)
    except WrongUpdateError as error:
        raise ConfigError(str(error), path=str(path), line=_line(text, error.key)) from error
    return settings


def _check_uplink(uplink: Uplink, text: str, path: Path) -> None:
    """Refuse an uplink that contradicts itself, names nobody, or hides by a pattern that is none.

    Raises:
        ConfigError: so it does.
    """
    try:
        check_uplink(uplink)
        user_ids(uplink.users)
    except WrongUplinkError as error:
        line = _line(text, error.key)
        raise ConfigError(str(error), path=str(path), line=line) from error
    if uplink.redact:
        from aiosd.policy.outbound.pattern import PatternError, build  # noqa: PLC0415 - few need it

        try:
            build(uplink.redact)
        except PatternError as error:
            line = _line(text, "redact")
            raise ConfigError(f"uplink.redact: {error}", path=str(path), line=line) from error


def user_ids(users: list[str]) -> frozenset[int] | None:
    """Return the numbers of Unix users given by name or number; None for everybody ("*").

    Raises:
        WrongUplinkError: there is no user of a name.
    """
    if "*" in users:
        return None
    found = set()
    for user in users:
        try:
            found.add(int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise WrongUplinkError("users", f"there is no user {user!r} here") from None
    return frozenset(found)


def _line(text: str, key: str) -> int:
    """Return the number of the line that sets `key`."""
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.strip().startswith(key)), 0)


def environment_variables() -> dict[str, str]:
    """Return the environment; the only place of the daemon that looks there."""
    return dict(os.environ)  # noqa: TID251 - this is the one place
