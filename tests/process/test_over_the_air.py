"""Publisher, updater and daemon together: a release comes over the air while its expert answers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fakes.mirror import Mirror
from fakes.parted import Parted, install_packed, packed_in_parts
from fakes.published import tree
from fakes.repository import Repository
from fakes.rolling import Rolling
from fakes.running import DaemonProcess

from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextEnd, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.protocol.messages import End, Reply, Rollback
from aiosd.protocol.release_json import decode_release
from aiosd.store import garbage
from aiosd.store.audit import audit
from aiosd.store.releases import Releases

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

    def publish_packed(self, release: int, packed: Parted) -> None:
        """Publish what a publisher packed."""
        self.repository.files |= packed.blobs
        self.repository.add(f"experts/one/{release}/manifest.json", packed.manifest)

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


def said_by_the_whole(model: Path) -> str:
    """What the model says that was cut into parts, asked without a daemon."""
    from aiosd.engines.llama import LlamaEngine  # noqa: PLC0415 - it may not be installed

    engine = LlamaEngine()
    need = EngineNeed(name="llama", context=128, batch=32)
    engine.load({"model": model}, need, threads=1)
    prompt = TextPrompt(text="e e", sampling=Sampling(temperature=0.0, max_tokens=8))
    *_, end = engine.run(prompt, cancelled=lambda: False)
    engine.close()
    assert isinstance(end, TextEnd)
    return end.text


def blobs_of(releases: Releases) -> set[str]:
    return {sha256 for sha256, _ in releases.blobs.held()}


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs llama-cpp-python")
def test_of_a_model_in_parts_only_the_one_that_changed_comes_and_it_can_be_gone_back(
    daemon: DaemonProcess, air: Air, tmp_path: Path
) -> None:
    first, second = (packed_in_parts(tmp_path / "packed", "one", each) for each in (1, 2))
    texts = [said_by_the_whole(each.model) for each in (first, second)]
    assert texts[0] != texts[1]
    releases = install_packed(daemon.folder, first)
    rolling = Rolling(daemon.start(rollout={"canary_requests": 2}))
    client = daemon.client()

    def answered() -> tuple[int | None, object]:
        answer = client.say("one", "e e")
        assert isinstance(answer, End), answer
        return answer.outcome.release, answer.outcome.output["text"]

    assert answered() == (1, texts[0])
    old, new = (decode_release(each.manifest) for each in (first, second))
    (changed,) = new.blobs.keys() - old.blobs.keys()
    air.publish_packed(2, second)
    assert "release 2 is staged" in air.bring()
    assert blobs_of(releases) == {*old.blobs, changed}
    for file in new.files:
        places = [releases.folder("one", each) / file.path for each in (1, 2)]
        assert places[0].samefile(places[1]) == (file.sha256 != changed)
    rolling.reach("canary")
    assert [answered(), answered()] == [(2, texts[1])] * 2
    rolling.reach("collected")
    assert answered() == (2, texts[1])
    assert isinstance(rolling.admin.ask(Rollback(expert="one")), Reply)
    assert answered() == (1, texts[0])
    rolling.stop()
    assert audit(releases).faults == []
    garbage.collect(releases, now=time.time() + 10 * garbage.FRESH_SECONDS)
    assert blobs_of(releases) == old.blobs.keys()
