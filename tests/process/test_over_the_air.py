"""Publisher, updater and daemon together: a release comes over the air while its expert answers."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from fakes.mirror import Mirror
from fakes.published import tree
from fakes.repository import Repository
from fakes.rolling import Rolling
from fakes.running import DaemonProcess

from aiosd.protocol.messages import End

pytestmark = pytest.mark.process


class Air:
    """A repository on loopback, and the board's real updater."""

    def __init__(self, daemon: DaemonProcess, repository: Repository, mirror: Mirror) -> None:
        self.repository = repository
        self.config = daemon.folder / "update.toml"
        root = daemon.folder / "root.json"
        root.write_bytes(repository.bootstrap)
        self.config.write_text(
            f'[paths]\nexperts = ["{daemon.folder}/experts"]\nstate = "{daemon.folder}/state"\n'
            f'sockets = "{daemon.sockets}"\n'
            f'[update]\nurl = "{mirror.url}"\nroot = "{root}"\nreserve = "0"\n'
        )

    def publish(self, release: int, *, says: str = "hi") -> None:
        """Publish a release whose self-test asks "hi" and expects what it `says`."""
        files = {"model.bin": b"model %d" % release}
        package = tree("one", release, files)["package"]
        assert isinstance(package, dict)
        cases = [{"text": "hi", "expect": {"text": says}}]
        package["self_test"] = {"cases": cases}
        self.repository.publish("one", release, files, package=package)

    def bring(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "aiosd.update", "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def air(daemon: DaemonProcess) -> Iterator[Air]:
    repository = Repository()
    with Mirror(repository.files) as mirror:
        yield Air(daemon, repository, mirror)


def test_a_bad_release_never_answers_and_a_good_one_replaces_what_does(
    daemon: DaemonProcess, air: Air
) -> None:
    daemon.install("one")
    rolling = Rolling(daemon.start(rollout={"canary_requests": 2}))
    client = daemon.client()

    def answered_by() -> int:
        answer = client.say("one", "x")
        assert isinstance(answer, End), answer
        return answer.outcome.release

    assert answered_by() == 1
    # Signed as it should be, and fails its self-test on this board.
    air.publish(2, says="something else")
    assert "release 2 is staged" in air.bring()
    assert rolling.reach("quarantined")["reason"].startswith("self-test 1")
    assert answered_by() == 1
    assert "release 2 is not taken: self-test 1" in air.bring()
    air.publish(3)
    assert "release 3 is staged" in air.bring()
    rolling.reach("canary")
    assert [answered_by(), answered_by()] == [3, 3]
    rolling.reach("collected")
    assert answered_by() == 3
    air.publish(4)
    assert "release 4 waits" in air.bring(), "release 3 is on trial for some minutes"
