"""An Eclipse hawkBit server that says which releases this board should have (its DDI API).

It says which and when; it is not believed about anything else. A software module named like an
expert, of a version that is a release number, means `experts/<name>/<release>/manifest.json` of the
repository, which must be vouched for there as always. The bytes never come from hawkBit.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from aiosd.domain.errors import ConfigError
from aiosd.domain.rollout import Rollout, State
from aiosd.domain.update import Fault, Update, UpdateError
from aiosd.net.exchange import Exchange

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_RELEASE = re.compile(r"[1-9][0-9]{0,9}")
_MOST_MODULES = 64
_MOST_DETAILS = 10
_GOOD = (State.COMMITTED, State.DRAINED, State.COLLECTED)
_BAD = (State.QUARANTINED, State.CANCELLED)


class _Link(msgspec.Struct, frozen=True):
    """A link."""

    href: str


class _Links(
    msgspec.Struct,
    frozen=True,
    rename={"deployment": "deploymentBase", "cancel": "cancelAction"},
):
    """Where to go on."""

    deployment: _Link | None = None
    cancel: _Link | None = None


class _Base(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """What a device finds at its address."""

    links: _Links = _Links()


class _Chunk(msgspec.Struct, frozen=True):
    """A software module."""

    name: str
    version: str


class _Deployment(msgspec.Struct, frozen=True, rename="camel"):
    """What to do."""

    download: str = "attempt"
    update: str = "attempt"
    maintenance_window: str = "available"
    chunks: list[_Chunk] = msgspec.field(default_factory=list)


class _Order(msgspec.Struct, frozen=True):
    """An action with what to do."""

    id: str
    deployment: _Deployment


class _Stop(msgspec.Struct, frozen=True, rename="camel"):
    """Which action is over."""

    stop_id: str


class _Cancel(msgspec.Struct, frozen=True, rename={"action": "cancelAction"}):
    """An action that is to be let go."""

    id: str
    action: _Stop


@dataclass(frozen=True)
class Deployment:
    """What hawkBit wants here: releases by expert, and whether they may be fetched now."""

    action: str
    wanted: Mapping[str, int]
    may_fetch: bool


class Hawkbit:
    """One device at one server."""

    def __init__(self, exchange: Exchange) -> None:
        """Take the way to `.../TENANT/controller/v1/DEVICE`."""
        self._exchange = exchange
        self._base = exchange.place.path

    def poll(self) -> Deployment | None:
        """Return what is wanted now; None if nothing is. A cancelled action is let go at once.

        Raises:
            UpdateError: the server does not answer, or not as DDI has it.
        """
        links = self._get(self._base, _Base).links
        if links.cancel is not None:
            stop = self._get(self._exchange.path_of(links.cancel.href), _Cancel)
            self._say(f"cancelAction/{_plain(stop.id)}", "closed", "success", ["let go"])
            return None
        if links.deployment is None:
            return None
        order = self._get(self._exchange.path_of(links.deployment.href), _Order)
        deployment = order.deployment
        may = deployment.download != "skip" and deployment.maintenance_window == "available"
        try:
            return Deployment(_plain(order.id), _wanted(deployment.chunks), may)
        except UpdateError as error:
            self._say(f"deploymentBase/{_plain(order.id)}", "closed", "failure", [error.message])
            raise

    def report(
        self,
        deployment: Deployment,
        rows: Mapping[str, Rollout | None],
        active: Callable[[str], int],
    ) -> str:
        """Tell how far a deployment is, from the ledger's rows and what serves; return the verdict.

        Raises:
            UpdateError: the server does not take it.
        """
        done, failed, details = True, False, []
        for name, release in deployment.wanted.items():
            row = rows.get(name)
            if row is None or row.release != release:
                serves = active(name)
                done = done and serves == release
                details.append(f"{name}: release {serves} serves")
                continue
            failed = failed or row.state in _BAD
            done = done and row.state in _GOOD
            details.append(f"{name}: {row.state}{f', {row.reason}' if row.reason else ''}")
        finished = "failure" if failed else "success" if done else "none"
        execution = "proceeding" if finished == "none" else "closed"
        self._say(f"deploymentBase/{deployment.action}", execution, finished, details)
        return finished

    def _say(self, where: str, execution: str, finished: str, details: list[str]) -> None:
        status = {
            "execution": execution,
            "result": {"finished": finished},
            "details": [each[:500] for each in details[:_MOST_DETAILS]],
        }
        self._exchange.ask("POST", f"{self._base}/{where}/feedback", {"status": status})

    def _get(self, path: str, kind: type[T]) -> T:
        data = self._exchange.ask("GET", path)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpdateError(Fault.BAD_METADATA, f"hawkBit's answer: {error}") from error


def hawkbit_of(update: Update) -> Hawkbit | None:
    """Return the server of the settings; None if there is none.

    Raises:
        ConfigError: its token cannot be read.
        UpdateError: its address is none.
    """
    if not update.hawkbit:
        return None
    token = ""
    if update.hawkbit_token_file:
        path = Path(update.hawkbit_token_file)
        try:
            token = f"TargetToken {path.read_text(encoding='ascii').strip()}"
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"hawkbit_token_file: {error}", path=str(path)) from error
    return Hawkbit(Exchange(update.hawkbit, ca_file=update.ca_file, token=token))


def _wanted(chunks: list[_Chunk]) -> dict[str, int]:
    """Return the releases that modules mean.

    Raises:
        UpdateError: a module is none of ours, or there are too many.
    """
    if not chunks or len(chunks) > _MOST_MODULES:
        raise UpdateError(Fault.WRONG_RELEASE, f"{len(chunks)} software modules are no deployment")
    found: dict[str, int] = {}
    for chunk in chunks:
        if not _NAME.fullmatch(chunk.name) or not _RELEASE.fullmatch(chunk.version):
            raise UpdateError(
                Fault.WRONG_RELEASE,
                f"module {chunk.name[:80]!r} version {chunk.version[:80]!r} is no expert's release",
            )
        found[chunk.name] = int(chunk.version)
    return found


def _plain(action: str) -> str:
    """Return an action's number, which becomes part of a path.

    Raises:
        UpdateError: it is none.
    """
    if not _RELEASE.fullmatch(action):
        raise UpdateError(Fault.BAD_METADATA, f"action {action[:80]!r} is no number")
    return action
