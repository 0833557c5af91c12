"""One run of the updater, from settings to outcomes: its parts are handed in here, once."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

from aiosd.domain.errors import AiosdError, ConfigError, PackageError
from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import origin_of
from aiosd.store.blobs import Blobs
from aiosd.store.catalogue import scan
from aiosd.store.durable import make_folders
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases
from aiosd.store.update_settings import Own
from aiosd.update.choice import Chooser
from aiosd.update.download import Clockwork, on_disk
from aiosd.update.hawkbit import Hawkbit, hawkbit_of
from aiosd.update.outcome import Outcome
from aiosd.update.purse import Purse
from aiosd.update.surroundings import device_id, is_metered, this_machine
from aiosd.update.trust import ROOT_BYTES, Trust
from aiosd.update.updater import Parts, Show, Updater
from aiosd.update.windows import Circumstances
from aiosd.update.wish import Wish

_LOCK = "lock"
_ANSWER_SECONDS = 5.0
log = logging.getLogger(__name__)


def run(own: Own, wish: Wish, show: Show) -> list[Outcome]:
    """Look for releases, and bring them if that is the wish.

    Raises:
        ConfigError: there is nowhere to look, or no root to trust.
        UpdateError: the repository is not believed or does not answer, or another updater runs.
    """
    if not own.update.on:
        raise ConfigError("updates are off: [update] url is empty")
    bootstrap = _bootstrap(Path(own.update.root))
    with on_disk(), _alone(own.folder), _busy(Releases(own.layout)) as releases:
        serving = {
            name: installed.manifest.release
            for name, installed in scan(own.layout.experts).experts.items()
        }
        names = wish.experts or tuple(own.update.experts) or tuple(sorted(serving))
        url, stall = own.update.url, own.update.stall_seconds
        metered = is_metered(own.update)
        day = time.strftime("%Y-%m-%d")
        kept = metered or own.update.size("day_budget") > 0
        with (
            closing(origin_of(url, own.update.ca_file, stall)) as origin,
            closing(Ledger(own.layout.ledger)) as ledger,
            closing(Purse(own.folder / "spent.json", day, metered=metered, kept=kept)) as purse,
        ):
            parts = Parts(
                origin=origin,
                trust=Trust(own.folder / "metadata", ledger, now=time.time),
                ledger=ledger,
                releases=releases,
                active=Active(serving, releases),
                blobs=Blobs(own.layout.blobs),
                chooser=_chooser(own),
                purse=purse,
                clockwork=Clockwork(time.monotonic, _rest),
                wall=time.time,
                circumstances=lambda: Circumstances(_minute(), metered, purse.spent),
                show=show,
                staged=lambda name, release: _tell_daemon(own, name, release),
                bootstrap=bootstrap,
            )
            if wish.only_check:
                return Updater(own.update, parts).check(names)
            hawkbit = hawkbit_of(own.update)
            if hawkbit is not None:
                return _managed(own, parts, hawkbit, anyway=wish.anyway)
            return Updater(own.update, parts, anyway=wish.anyway).run(names)


def _managed(own: Own, parts: Parts, hawkbit: Hawkbit, *, anyway: bool) -> list[Outcome]:
    """Do what a hawkBit server wants, and tell it how far that is.

    Raises:
        UpdateError: it, or the repository, does not answer or is not believed.
    """
    deployment = hawkbit.poll()
    if deployment is None:
        return []
    outcomes: list[Outcome] = []
    try:
        if deployment.may_fetch:
            chooser = replace(parts.chooser, only=deployment.wanted)
            updater = Updater(own.update, replace(parts, chooser=chooser), anyway=anyway)
            outcomes = updater.run(deployment.wanted)
    finally:
        rows = {name: parts.ledger.row(name) for name in deployment.wanted}
        hawkbit.report(deployment, rows, parts.active)
    return outcomes


def _chooser(own: Own) -> Chooser:
    update = own.update
    device = device_id(update, own.folder)
    return Chooser(update.channel, device, this_machine(), update.size("largest"))


class Active:
    """Which release of an expert serves now: linked, a plain folder's, or shipped; 0 for none."""

    def __init__(self, serving: Mapping[str, int], releases: Releases) -> None:
        """Take what a scan of the experts folders found."""
        self._serving = serving
        self._releases = releases

    def __call__(self, name: str) -> int:
        """Return it; the link may have been flipped since the scan."""
        return self._releases.active(name) or self._serving.get(name, 0)


def _bootstrap(path: Path) -> bytes:
    """Return the owner's own copy of the publisher's root.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{error.strerror}; put the publisher's root.json there, or set [update] root",
            path=str(path),
        ) from error
    if len(data) > ROOT_BYTES:
        raise ConfigError(f"more than {ROOT_BYTES} bytes: no root", path=str(path))
    return data


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only updater of this board.

    Raises:
        UpdateError: another one runs.
        OSError: the state folder cannot be written.
    """
    make_folders(folder)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "another aiosd-update runs; see: aiosctl update status"
            raise UpdateError(Fault.LOCKED, why) from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _busy(releases: Releases) -> Iterator[Releases]:
    """Keep the store's collector away.

    Raises:
        UpdateError: it is at work.
    """
    try:
        with releases.busy():
            yield releases
    except PackageError as error:
        raise UpdateError(Fault.LOCKED, error.message) from error


def _tell_daemon(own: Own, name: str, release: int) -> None:
    """Tell the daemon of a staged release; one that is not there finds it in the ledger."""
    if not own.layout.admin_socket.exists():
        return
    from aiosd.client import Client  # noqa: PLC0415 - ZeroMQ, which only who has news needs

    try:
        with Client(own.layout.sockets, timeout_seconds=_ANSWER_SECONDS) as client:
            client.staged(name, release)
    except (AiosdError, OSError) as error:
        log.info("the daemon was not told (%s); it finds the release when it starts", error)


def _rest(seconds: float) -> None:
    Event().wait(seconds)


def _minute() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min
