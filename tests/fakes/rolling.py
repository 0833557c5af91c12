"""Releases that come to a running daemon as the updater would bring them."""

import hashlib
import time
from typing import Any

from fakes.published import fill, layout, tree
from fakes.running import DaemonProcess, RawClient, until

from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import Staged as StagedEvent
from aiosd.policy.rollout.table import advance
from aiosd.protocol.messages import Reply, Rollouts, Staged
from aiosd.protocol.release_json import encode_release
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases


class Rolling:
    """One expert of a daemon, and the operator who looks at its releases."""

    def __init__(self, daemon: DaemonProcess, name: str = "one") -> None:
        self.daemon = daemon
        self.name = name
        self.layout = layout(daemon.folder)
        self._admin: RawClient | None = None

    def stage(
        self,
        release: int,
        *,
        old: int = 1,
        says: str = "hi",
        security_floor: int = 0,
        **package: object,
    ) -> None:
        """Do what the updater does, up to the row in the ledger.

        The release's self-test asks "hi" and expects what it `says`.
        """
        files = {"model.bin": b"model %d" % release}
        made: dict[str, Any] = tree(self.name, release, files)
        cases = [{"text": "hi", "expect": {"text": says}}]
        made["package"] |= {"self_test": {"cases": cases}, **package}
        made["security_floor"] = security_floor
        data = encode_release(made)
        releases = Releases(self.layout)
        fill(releases.blobs, files)
        releases.stage(data)
        row = Rollout(
            name=self.name,
            release=release,
            sha256=hashlib.sha256(data).hexdigest(),
            state=State.VERIFIED,
            old_release=old,
        )
        ledger = Ledger(self.layout.ledger)
        ledger.put(advance(row, StagedEvent(), time.time())[0])
        ledger.close()

    def come(self, release: int, *, old: int = 1, says: str = "hi", **package: object) -> None:
        """Stage a release and tell the daemon."""
        self.stage(release, old=old, says=says, **package)
        answer = self.admin.ask(Staged(expert=self.name, release=release))
        assert isinstance(answer, Reply), answer

    @property
    def admin(self) -> RawClient:
        """An operator's connection to the daemon that runs now."""
        if self._admin is None:
            self._admin = self.daemon.admin()
        return self._admin

    def row(self) -> dict[str, Any]:
        """What the daemon says of the expert's last release."""
        answer = self.admin.ask(Rollouts())
        assert isinstance(answer, Reply), answer
        rows: list[dict[str, Any]] = answer.body["rollouts"]  # type: ignore[assignment]
        return next(row for row in rows if row["expert"] == self.name)

    def reach(self, *states: str) -> dict[str, Any]:
        """Wait until the release is in one of these states; return its row."""

        def there() -> dict[str, Any] | None:
            row = self.row()
            return row if row["state"] in states else None

        return until(there, f"release in {states}")

    def kill(self) -> None:
        """End the daemon without a word, and forget the connection."""
        assert self.daemon.process is not None
        self.daemon.process.kill()
        self.daemon.process.wait()
        self._admin = None

    def stop(self) -> None:
        """End the daemon as systemd does, and forget the connection."""
        self.daemon.stop()
        self._admin = None
