"""Model, adapters on it and the router's examples change together, whenever a board dies."""

import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fakes.published import CREATED, layout
from fakes.small_board import BASE, MACHINE, RULES

from aiosd.daemon.inventory import Inventory
from aiosd.policy.routing.lessons import key_of
from aiosd.protocol.release_json import encode_release
from aiosd.store import failpoint
from aiosd.store.blobs import Blobs
from aiosd.store.heads import lessons_of
from aiosd.store.layout import Layout
from aiosd.store.releases import Releases
from tools.gguf.package import write_expert, write_skill

SAYS = {1: "switch the lamp on", 2: "pay the rent"}


@pytest.fixture
def board(tmp_path: Path) -> Layout:
    """A base whose release 1 serves and whose release 2 is staged, and an adapter on its model."""
    made = layout(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    made.experts[0].mkdir()
    write_skill(made.experts[0], "skill", BASE, seed=1)
    for release in SAYS:
        folder = write_expert(source / str(release), BASE).folder
        stage(made, folder, release)
    Releases(made).activate("base", 1)
    return made


def stage(board: Layout, folder: Path, release: int) -> None:
    """Stage a package as a release that is routed by what this release says."""
    package: dict[str, Any] = tomllib.loads((folder / "expert.toml").read_text(encoding="utf-8"))
    files = package.pop("files")
    package |= {"release": release, "routing": {"utterances": [SAYS[release]]}}
    blobs = Blobs(board.blobs)
    for each in files:
        blobs.put(folder / each["path"], each["sha256"], each["size"])
        each.pop("source", None)
    tree = {
        "format": 1,
        "name": "base",
        "release": release,
        "created": CREATED,
        "licence": package["licence"],
        "package": package,
        "files": files,
    }
    Releases(board).stage(encode_release(tree))


def activate_and_die(board: Layout, point: int) -> bool:
    """Move on to release 2 in a process that dies at a point; False if it lives to the end."""
    pid = os.fork()
    if pid == 0:
        reached = 0

        def strike(_name: str) -> None:
            nonlocal reached
            reached += 1
            if reached == point:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            failpoint.act_by(strike)
            Releases(board).activate("base", 2)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def found_by_a_daemon(board: Layout) -> tuple[int, str, str, str]:
    """The base's release, where its adapter's model lies, its model's need, its lessons' key."""
    inventory = Inventory(board, MACHINE, RULES)
    inventory.scan(board, RULES)
    base = inventory.find("base")
    _, order = inventory.order("skill")
    assert order.base is not None
    key = key_of(lessons_of(inventory.catalogue.experts.values()))
    return base.manifest.release, order.base.folder, str(base.folder), key


def test_who_dies_in_a_commit_leaves_all_of_one_release_and_nothing_of_the_other(
    board: Layout,
) -> None:
    keys = {1: found_by_a_daemon(board)[3]}
    point, seen = 1, []
    while activate_and_die(board, point):
        release, adapted, folder, key = found_by_a_daemon(board)
        assert Path(folder) == Releases(board).folder("base", release)
        assert adapted == folder
        assert keys.setdefault(release, key) == key
        seen.append(release)
        Releases(board).activate("base", 1)
        point += 1
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}
    assert keys[1] != keys[2]
    assert found_by_a_daemon(board)[0] == 2
