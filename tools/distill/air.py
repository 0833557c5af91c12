"""The way over the air in a simulated week: a publisher's desk, and the board's own updater."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosd.client import Client
from tools.distill.fault import DistillError
from tools.expert import ceremony
from tools.expert.keyfile import make_key, open_signer
from tools.expert.pack import Terms, pack
from tools.expert.publish import STABLE, Shelf, publish
from tools.expert.repository import Repository

PUBLISHER, ROOTS = "week", ("root-1", "root-2")
UPDATE_SECONDS, ARRIVAL_SECONDS, LOOK_SECONDS = 120.0, 300.0, 0.2
# States in which a release answers: some requests, or all.
ANSWERING = frozenset({"canary", "committed", "collected"})


class Desk:
    """A publisher with all keys in one folder, as only a simulation has them."""

    def __init__(self, folder: Path, expert: str) -> None:
        """Make keys, and a repository in which the publisher speaks for the expert."""
        self._expert, self._folder = expert, folder
        self._keys = folder / "keys"
        self._keys.mkdir(parents=True)
        public = {name: make_key(self._keys / name, "") for name in (*ROOTS, "targets", "online")}
        grant = ceremony.Grant(PUBLISHER, [expert], [make_key(self._keys / PUBLISHER, "")])
        self.repository = Repository(folder / "repository")
        now = datetime.now(UTC)
        roots = [public[name] for name in ROOTS]
        kinds = {"root": roots, "targets": [public["targets"]], "online": [public["online"]]}
        ceremony.begin(self.repository, kinds, len(ROOTS), now)
        for name in ROOTS:
            ceremony.sign_draft(self.repository, self._signer(name))
        targets = [self._signer("targets")]
        ceremony.renew_targets(self.repository, targets, now)
        ceremony.delegate(self.repository, grant, targets, now)
        self.repository.refresh(self._signer("online"), now)

    def _signer(self, name: str) -> Any:  # noqa: ANN401 - securesystemslib's
        return open_signer(self._keys / name)

    def publish(self, package: Path, release: int) -> None:
        """Pack a package and publish it for every board.

        Raises:
            PublisherError: it has errors.
        """
        packed = self._folder / f"packed-{release}"
        # A package's folder has its name.
        named = self._folder / f"source-{release}" / self._expert
        named.parent.mkdir()
        named.symlink_to(package.resolve())
        now = datetime.now(UTC)
        pack(named, packed, Terms(), now.timestamp())
        shelf = Shelf(self.repository, self._expert, now)
        publish(shelf, packed, channel=STABLE)
        shelf.sign([self._signer(PUBLISHER)], self._signer("online"))

    def settings(self) -> str:
        """Return what a board's settings say of it: the folder stands for a web server."""
        root = self.repository.metadata / "1.root.json"
        where = self.repository.folder.resolve().as_uri()
        return f'[update]\nurl = "{where}"\nroot = "{root.resolve()}"\nreserve = "0"\n'


def bring(config: Path, client: Client, expert: str, release: int) -> None:
    """Let the board's updater fetch a release, and wait until it answers requests.

    Raises:
        DistillError: the updater fails, or the board does not take the release.
    """
    until = time.monotonic() + ARRIVAL_SECONDS
    while f"release {release} is staged" not in (said := _update(config)):
        # The release before is still on trial.
        if "waits" not in said or time.monotonic() > until:
            raise DistillError(f"the updater does not bring release {release}: {said}")
        time.sleep(LOOK_SECONDS)
    while True:
        rows: Any = client.rollouts()["rollouts"]
        row = next(each for each in rows if each["expert"] == expert)
        if row["release"] == release and row["state"] in ANSWERING:
            return
        if row["state"] == "quarantined" or time.monotonic() > until:
            raise DistillError(f"release {release} is {row['state']}: {row['reason']}")
        time.sleep(LOOK_SECONDS)


def _update(config: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "aiosd.update", "--now", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=UPDATE_SECONDS,
    )
    return done.stdout + done.stderr
