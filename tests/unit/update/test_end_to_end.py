"""What a publisher's tools put on a stick or a web server is what a board takes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fakes.mirror import Mirror
from fakes.repository import Repository as Pretend
from fakes.repository import signer
from fakes.updating import Board

from aiosd.domain.rollout import State
from aiosd.domain.update import Update
from tools.expert import ceremony
from tools.expert.pack import Terms, pack
from tools.expert.publish import Shelf, promote, publish, revoke
from tools.expert.repository import Repository

NOW = datetime.now(UTC).replace(microsecond=0)
SOURCE = """name = "hello"
release = {release}
summary = "says it"
licence = "MIT"
task = "echo"
[engine]
name = "echo"
[input]
type = "text"
[[self_test.cases]]
text = "hello {release}"
expect = {{ text = "hello {release}" }}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    keys = {
        "root": [signer(f"root-{number}").public_key for number in (1, 2, 3)],
        "targets": [signer("targets").public_key],
        "online": [signer("online").public_key],
    }
    ceremony.begin(made, keys, 2, NOW)
    for name in ("root-1", "root-2"):
        ceremony.sign_draft(made, signer(name))
    ceremony.renew_targets(made, [signer("targets")], NOW)
    grant = ceremony.Grant("acme", ["hello"], [signer("acme").public_key])
    ceremony.delegate(made, grant, [signer("targets")], NOW)
    made.refresh(signer("online"), NOW)
    return made


def change(repository: Repository, act: Callable[[Shelf], object]) -> None:
    """Let the publisher do something, and sign it."""
    shelf = Shelf(repository, "hello", NOW)
    act(shelf)
    shelf.sign([signer("acme")], signer("online"))


def put(repository: Repository, folder: Path, release: int, channel: str = "stable") -> None:
    """Pack and publish a release."""
    source = folder / "source" / "hello"
    source.mkdir(parents=True, exist_ok=True)
    (source / "expert.toml").write_text(SOURCE.format(release=release), encoding="utf-8")
    out = folder / f"packed-{release}"
    pack(source, out, Terms(), NOW.timestamp())
    change(repository, lambda shelf: publish(shelf, out, channel=channel))


@pytest.fixture(params=["stick", "web"])
def board(
    request: pytest.FixtureRequest, repository: Repository, tmp_path: Path
) -> Iterator[Board]:
    bootstrap = (repository.metadata / "1.root.json").read_bytes()
    keys = cast("Pretend", SimpleNamespace(bootstrap=bootstrap, now=NOW))

    def serve(handler: object, path: str) -> bool:
        place = repository.folder / path
        if place.is_file():
            mirror.files[path] = place.read_bytes()
        return handler is None

    with Mirror(mischief=serve) as mirror:
        url = mirror.url if request.param == "web" else f"file://{repository.folder}"
        made = Board(tmp_path, keys, mirror, Update(url=url, reserve="0"), NOW.timestamp())
        yield made
        made.ledger.close()


def bring(board: Board) -> tuple[str, int]:
    (found,) = board.run(["hello"])
    return found.result, found.release


def serve(board: Board, release: int) -> None:
    """Have the daemon's part done: the release serves."""
    board.releases.activate("hello", release)
    board.ledger.forget("hello")


def test_what_is_published_is_staged(board: Board, repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, 1)
    assert bring(board) == ("staged", 1)
    assert board.row_state("hello") is State.STAGED
    assert board.releases.open("hello", 1).manifest.summary == "says it"


def test_a_release_comes_with_its_channel_and_goes_when_revoked(
    board: Board, repository: Repository, tmp_path: Path
) -> None:
    put(repository, tmp_path, 1)
    bring(board)
    serve(board, 1)
    put(repository, tmp_path, 2, channel="candidate")
    assert bring(board) == ("current", 1)
    change(repository, lambda shelf: promote(shelf, 2, channel="stable", percent=100))
    assert bring(board) == ("staged", 2)
    serve(board, 2)
    created = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    change(repository, lambda shelf: revoke(shelf, 2, created=created))
    # There is no way back but forwards: the content of release 1 comes as release 3.
    assert bring(board) == ("staged", 3)


def test_a_rollout_to_nobody_reaches_nobody(
    board: Board, repository: Repository, tmp_path: Path
) -> None:
    put(repository, tmp_path, 1)
    change(repository, lambda shelf: promote(shelf, 1, channel="stable", percent=0))
    assert bring(board)[0] == "waiting"


def test_boards_follow_a_change_of_the_publishers_keys(
    board: Board, repository: Repository, tmp_path: Path
) -> None:
    put(repository, tmp_path, 1)
    bring(board)
    serve(board, 1)
    keys = {
        "root": [signer(f"root-{number}").public_key for number in (2, 3, 4)],
        "targets": [signer("targets").public_key],
        "online": [signer("online-2").public_key],
    }
    ceremony.rotate(repository, keys, 2, NOW)
    for name in ("root-2", "root-3"):
        ceremony.sign_draft(repository, signer(name))
    repository.refresh(signer("online-2"), NOW)
    shelf = Shelf(repository, "hello", NOW)
    source = tmp_path / "source" / "hello"
    (source / "expert.toml").write_text(SOURCE.format(release=2), encoding="utf-8")
    pack(source, tmp_path / "packed-2", Terms(), NOW.timestamp())
    publish(shelf, tmp_path / "packed-2", channel="stable")
    shelf.sign([signer("acme")], signer("online-2"))
    assert bring(board) == ("staged", 2)
