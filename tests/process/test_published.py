"""Releases of the store, served by a real daemon: by hard links, and by symbolic ones."""

import errno
import os
from pathlib import Path

import pytest
from fakes.published import fill, layout, published
from fakes.running import DaemonProcess

from aiosd.protocol.messages import End, Reload
from aiosd.store.releases import Releases

pytestmark = pytest.mark.process


def stage(releases: Releases, release: int) -> Path:
    files = {"model.bin": f"model {release}".encode() * 1000}
    fill(releases.blobs, files)
    return releases.stage(published("one", release, files))


def answered(daemon: DaemonProcess) -> tuple[str, int | None]:
    end = daemon.client().say("one", "hello there")
    assert isinstance(end, End), end
    return str(end.outcome.output["text"]), end.outcome.release


@pytest.mark.parametrize("hard", [True, False], ids=["hard", "symbolic"])
def test_the_active_release_answers_and_so_does_the_next_after_a_reload(
    daemon: DaemonProcess,
    hard: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(path), None, str(target))

    if not hard:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    releases = Releases(layout(daemon.folder))
    folder = stage(releases, 1)
    assert (folder / "model.bin").is_symlink() == (not hard)
    releases.activate("one", 1)
    daemon.start()
    assert answered(daemon) == ("hello there", 1)
    stage(releases, 2)
    releases.activate("one", 2)
    daemon.admin().ask(Reload())
    assert answered(daemon) == ("hello there", 2)
