"""Which release of an expert to take, of those that a repository vouches for."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aiosd.domain.errors import PackageError
from aiosd.domain.release import Release
from aiosd.domain.update import Fault, UpdateError
from aiosd.policy.rollout.percentile import percentile, reached
from aiosd.protocol.release_json import MAX_BYTES, decode_release
from aiosd.update.outcome import Passed
from aiosd.update.surroundings import Machine, check_fits
from aiosd.update.trust import Session

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PATH = re.compile(r"experts/([a-z][a-z0-9-]{0,62})/([1-9][0-9]{0,9})/manifest\.json")
# A release that is not offered by anybody; asking for it loads the roles that may speak for a name.
_NONE = "0"


@dataclass(frozen=True)
class Standing:
    """What this board has and knows of one expert."""

    name: str
    active: int
    floor: int
    held: bool
    quarantined: Callable[[int], str | None]


@dataclass(frozen=True)
class Chosen:
    """A release that this board should take, with the very bytes that were signed for."""

    release: Release
    manifest: bytes
    sha256: str


@dataclass(frozen=True)
class Chooser:
    """What decides, beside the expert's standing.

    `only` names the one release of each expert that somebody who manages this board wants.
    """

    channel: str
    device: str
    machine: Machine
    largest: int
    only: Mapping[str, int] | None = None

    def choose(self, session: Session, standing: Standing) -> tuple[Chosen | None, list[Passed]]:
        """Return the highest release that this board may take, and those passed over.

        Raises:
            UpdateError: metadata or a manifest is not what it should be, or does not come.
        """
        passed: list[Passed] = []
        name = standing.name
        if not _NAME.fullmatch(name):
            raise UpdateError(Fault.UNKNOWN_TARGET, f"{name[:80]!r} is no name of an expert")
        for number in _offered(session, name):
            if number <= standing.active:
                break
            if self.only is not None and number != self.only.get(name):
                continue
            if number < standing.floor:
                raise UpdateError(
                    Fault.ROLLBACK,
                    f"{name} release {number} is offered, but {standing.floor} was here before",
                )
            chosen, why = self._look(session, standing, number)
            if chosen is not None:
                return chosen, passed
            if why:
                passed.append(Passed(name, number, why))
        return None, passed

    def _look(self, session: Session, standing: Standing, number: int) -> tuple[Chosen | None, str]:
        """Return one release, or why not."""
        path = f"experts/{standing.name}/{number}/manifest.json"
        offer = session.find(path)
        if offer is None or (offer.channels and self.channel not in offer.channels):
            # Not for us: of another channel, or from somebody who may not speak for this expert.
            return None, ""
        against = "held" if standing.held else standing.quarantined(number)
        if against is not None:
            return None, against
        data = session.fetch(offer, "targets", MAX_BYTES)
        release = _decoded(data, path)
        if (release.name, release.release) != (standing.name, number):
            raise UpdateError(
                Fault.WRONG_RELEASE,
                f"{path} holds the manifest of {release.name} release {release.release}",
            )
        why = self._against(release)
        return (None, why) if why else (Chosen(release, data, offer.sha256), "")

    def _against(self, release: Release) -> str:
        """Return why this board does not take a release, though it is as it should be."""
        if release.size_bytes > self.largest > 0:
            return f"{release.size_bytes} bytes are over the {self.largest} of `largest`"
        try:
            check_fits(release, self.machine)
        except UpdateError as error:
            return error.message
        percent = release.rollout.percent
        if not reached(self.device, release.name, release.release, percent):
            place = percentile(self.device, release.name, release.release)
            return f"rolled out to {percent} %, this board is at {place:.1f}"
        return ""


def _offered(session: Session, name: str) -> Iterable[int]:
    """Return the releases of an expert that any role lists, the highest first."""
    session.find(f"experts/{name}/{_NONE}/manifest.json")
    found = (_PATH.fullmatch(path) for path in session.named())
    return sorted({int(each[2]) for each in found if each and each[1] == name}, reverse=True)


def _decoded(data: bytes, path: str) -> Release:
    try:
        return decode_release(data, path=path)
    except PackageError as error:
        raise UpdateError(Fault.WRONG_RELEASE, error.message) from error
