"""The way over the air of a simulated week: published by the desk, fetched by the board itself."""

import shutil
from pathlib import Path

import pytest

from aiosd.store.install import install
from tools.demo.private_daemon import PrivateDaemon
from tools.distill.fault import DistillError

pytestmark = pytest.mark.process


def package(repo: Path, folder: Path, release: int, *, right: bool = True) -> Path:
    """A package of echo's kind named week, whose self-test is right or not."""
    found = folder / str(release)
    shutil.copytree(repo / "experts" / "echo", found)
    manifest = found / "expert.toml"
    text = manifest.read_text()
    text = text.replace('name = "echo"', 'name = "week"', 1)
    text = text.replace("release = 1", f"release = {release}", 1)
    manifest.write_text(text if right else text.replace("expect = {", 'expect = { odd = "1", '))
    return found


def test_a_night_s_release_is_signed_fetched_tried_and_answers(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("tuf", reason="needs the extra publish")
    from tools.distill.air import Desk, bring  # noqa: PLC0415 - tuf may be absent

    desk = Desk(tmp_path / "publisher", "week")
    daemon = PrivateDaemon([], desk.settings() + "[rollout]\ncanary_requests = 2\n")
    daemon.program = "tools.distill.hurried"
    install(package(repo, tmp_path, 1), daemon.experts)
    with daemon, daemon.client() as client:

        def answered_by() -> int:
            return client.run("hello", expert="week").release

        assert answered_by() == 1
        desk.publish(package(repo, tmp_path, 2), 2)
        bring(daemon.config, client, "week", 2)
        assert [answered_by() for _ in range(4)] == [2] * 4
        desk.publish(package(repo, tmp_path, 3), 3)
        bring(daemon.config, client, "week", 3)
        assert [answered_by() for _ in range(2)] == [3, 3]
        desk.publish(package(repo, tmp_path, 4, right=False), 4)
        with pytest.raises(DistillError, match="quarantined"):
            bring(daemon.config, client, "week", 4)
        assert answered_by() == 3
