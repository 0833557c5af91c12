"""What publishers sign is what a TUF client accepts, and nothing else."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import FetcherInterface, Updater

from aiosd.domain.release import Release
from aiosd.protocol.release_json import decode_release
from tools.expert import ceremony
from tools.expert.__main__ import main
from tools.expert.faults import PublisherError
from tools.expert.keyfile import make_key, open_signer, read_public
from tools.expert.pack import Terms, pack
from tools.expert.publish import Shelf, promote, publish, revoke
from tools.expert.repository import Repository

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = {
    name: CryptoSigner.generate_ed25519()
    for name in ("root-1", "root-2", "root-3", "root-4", "targets", "online", "acme", "other")
}


class Folder(FetcherInterface):
    """Serves a repository as a web server does."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield Path(url.removeprefix("repo:")).read_bytes()
        except FileNotFoundError as error:
            raise DownloadHTTPError(url, 404) from error


def public(*names: str) -> list[object]:
    return [KEYS[name].public_key for name in names]


def top(*roots: str) -> dict[str, list[object]]:
    return {"root": public(*roots), "targets": public("targets"), "online": public("online")}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    ceremony.begin(made, top("root-1", "root-2", "root-3"), 2, NOW)
    for name in ("root-1", "root-3"):
        ceremony.sign_draft(made, KEYS[name])
    ceremony.renew_targets(made, [KEYS["targets"]], NOW)
    grant = ceremony.Grant("acme", ["hello"], public("acme"))
    ceremony.delegate(made, grant, [KEYS["targets"]], NOW)
    made.refresh(KEYS["online"], NOW)
    return made


@pytest.fixture
def client(repository: Repository, tmp_path: Path) -> Callable[[], Updater]:
    first = (repository.metadata / "1.root.json").read_bytes()

    def make() -> Updater:
        state = tmp_path / "client"
        state.mkdir(exist_ok=True)
        updater = Updater(
            str(state),
            f"repo:{repository.metadata}/",
            str(state),
            f"repo:{repository.folder}/targets/",
            fetcher=Folder(),
            bootstrap=first,
        )
        updater.refresh()
        return updater

    return make


def packed(folder: Path, release: int, text: str = "hello there") -> Path:
    source = folder / "source" / "hello"
    source.mkdir(parents=True, exist_ok=True)
    (source / "expert.toml").write_text(
        f"""name = "hello"
release = {release}
summary = "says it"
licence = "MIT"
task = "echo"
[engine]
name = "echo"
[input]
type = "text"
[[self_test.cases]]
text = "{text}"
expect = {{ text = "{text}" }}
""",
        encoding="utf-8",
    )
    out = folder / f"packed-{release}-{len(text)}"
    pack(source, out, Terms(), NOW.timestamp())
    return out


def put(repository: Repository, folder: Path, channel: str = "canary") -> Release:
    shelf = Shelf(repository, "hello", NOW)
    release = publish(shelf, folder, channel=channel)
    shelf.sign([KEYS["acme"]], KEYS["online"])
    return release


def seen(updater: Updater, release: int) -> tuple[Release, list[str]] | None:
    target = updater.get_targetinfo(f"experts/hello/{release}/manifest.json")
    if target is None:
        return None
    data = Path(updater.download_target(target)).read_bytes()
    return decode_release(data), target.custom["channels"]


def test_a_client_takes_what_was_published(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    found = seen(client(), 1)
    assert found is not None
    assert (found[0].release, found[1]) == (1, ["canary"])
    assert seen(client(), 2) is None


def test_promotion_reaches_more_channels_and_more_boards(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    shelf = Shelf(repository, "hello", NOW)
    promote(shelf, 1, channel="stable", percent=10)
    shelf.sign([KEYS["acme"]], KEYS["online"])
    found = seen(client(), 1)
    assert found is not None
    assert (found[0].rollout.percent, found[1]) == (10, ["canary", "stable"])


def test_a_published_release_never_changes_and_never_goes_back(
    repository: Repository, tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 2))
    put(repository, packed(tmp_path, 2), "beta")
    assert Shelf(repository, "hello", NOW).channels(2) == ["beta", "canary"]
    with pytest.raises(PublisherError, match="never changes"):
        put(repository, packed(tmp_path, 2, "other"))
    with pytest.raises(PublisherError, match="never go back"):
        put(repository, packed(tmp_path, 1))


def test_a_revoked_release_gives_way_to_the_next_one_with_a_floor_above_it(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        put(repository, packed(tmp_path, number))
    shelf = Shelf(repository, "hello", NOW)
    instead = revoke(shelf, 2, created="2026-01-01T00:00:00Z")
    shelf.sign([KEYS["acme"]], KEYS["online"])
    assert (instead.release, instead.security_floor) == (3, 3)
    found = client()
    assert (seen(found, 1), seen(found, 2)) == (None, None)
    kept = seen(found, 3)
    assert kept is not None
    assert kept[0].security_floor == 3


def test_the_newest_release_revoked_gives_way_to_the_one_before_under_the_next_number(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1, "good"))
    put(repository, packed(tmp_path, 2, "bad"), "stable")
    shelf = Shelf(repository, "hello", NOW)
    instead = revoke(shelf, 2, created="2026-01-01T00:00:00Z")
    shelf.sign([KEYS["acme"]], KEYS["online"])
    assert (instead.release, instead.security_floor) == (3, 3)
    kept = seen(client(), 3)
    assert kept is not None
    assert kept[0].manifest.self_test.cases[0].text == "good"
    assert kept[1] == ["canary", "stable"]
    # Later releases keep the floor.
    assert put(repository, packed(tmp_path, 4, "better")).security_floor == 3


def test_the_only_release_is_not_revoked_without_another(
    repository: Repository, tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    shelf = Shelf(repository, "hello", NOW)
    with pytest.raises(PublisherError, match="publish a better one"):
        revoke(shelf, 1, created="2026-01-01T00:00:00Z")
    with pytest.raises(PublisherError, match="not published"):
        revoke(shelf, 9, created="2026-01-01T00:00:00Z")


def test_another_publisher_cannot_sign_and_nothing_is_written(
    repository: Repository, tmp_path: Path
) -> None:
    shelf = Shelf(repository, "hello", NOW)
    publish(shelf, packed(tmp_path, 1), channel="canary")
    with pytest.raises(PublisherError, match="publisher-acme"):
        shelf.sign([KEYS["other"]], KEYS["online"])
    assert repository.version("publisher-acme") == 0
    with pytest.raises(PublisherError, match="no publisher speaks for 'goodbye'"):
        Shelf(repository, "goodbye", NOW)


def test_two_publishers_never_speak_for_one_expert(repository: Repository) -> None:
    grant = ceremony.Grant("other", ["hello"], public("other"))
    with pytest.raises(PublisherError, match="publisher-acme speaks for hello already"):
        ceremony.delegate(repository, grant, [KEYS["targets"]], NOW)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "*"])
def test_a_delegation_is_for_plain_names(repository: Repository, name: str) -> None:
    grant = ceremony.Grant("other", [name], public("other"))
    with pytest.raises(PublisherError, match="is no name"):
        ceremony.delegate(repository, grant, [KEYS["targets"]], NOW)


def test_a_publisher_may_get_another_key(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    grant = ceremony.Grant("acme", [], public("other"))
    ceremony.delegate(repository, grant, [KEYS["targets"]], NOW)
    with pytest.raises(PublisherError, match="nothing was renewed"):
        repository.refresh(KEYS["online"], NOW)  # the old key's word no longer counts
    shelf = Shelf(repository, "hello", NOW)
    shelf.sign([KEYS["other"]], KEYS["online"])
    assert seen(client(), 1) is not None


def test_a_client_follows_a_root_that_old_and_new_holders_signed(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    client()
    # root-1 is lost: root-4 takes its place.
    ceremony.rotate(repository, {"root": public("root-2", "root-3", "root-4")}, 0, NOW)
    assert ceremony.sign_draft(repository, KEYS["root-4"])[1] == [
        "1 of 2 of the new root's keys",
        "0 of 2 of the old root's keys",
    ]
    assert ceremony.sign_draft(repository, KEYS["root-2"])[1] == ["1 of 2 of the old root's keys"]
    assert ceremony.sign_draft(repository, KEYS["root-3"]) == (2, [])
    assert list(repository.drafts.iterdir()) == []
    assert seen(client(), 1) is not None


def test_a_stolen_online_key_is_replaced_by_the_root_alone(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    client()
    ceremony.rotate(repository, {"online": public("other")}, 0, NOW)
    for name in ("root-1", "root-2"):
        ceremony.sign_draft(repository, KEYS[name])
    with pytest.raises(PublisherError, match="snapshot"):
        repository.refresh(KEYS["online"], NOW)
    repository.refresh(KEYS["other"], NOW)
    assert seen(client(), 1) is not None


def test_one_root_key_alone_changes_nothing(
    repository: Repository, client: Callable[[], Updater]
) -> None:
    ceremony.rotate(repository, {"root": public("other", "root-4")}, 1, NOW)
    _, lacking = ceremony.sign_draft(repository, KEYS["root-1"])
    assert lacking
    assert repository.version("root") == 1
    # Put in place by force, a client refuses it.
    draft = next(repository.drafts.iterdir())
    draft.rename(repository.metadata / draft.name)
    with pytest.raises(UnsignedMetadataError):
        client()


def test_a_stranger_cannot_sign_a_root(repository: Repository) -> None:
    with pytest.raises(PublisherError, match="no root waits"):
        ceremony.sign_draft(repository, KEYS["root-1"])
    ceremony.rotate(repository, {}, 0, NOW)
    with pytest.raises(PublisherError, match="neither of the old root nor of the new one"):
        ceremony.sign_draft(repository, KEYS["other"])
    with pytest.raises(PublisherError, match="waits for signatures"):
        ceremony.rotate(repository, {}, 0, NOW)


def test_a_root_needs_as_many_keys_as_must_sign(tmp_path: Path) -> None:
    with pytest.raises(PublisherError, match="2 root keys must sign, but only 1"):
        ceremony.begin(Repository(tmp_path), top("root-1"), 2, NOW)


def test_a_repository_that_nobody_renews_is_refused_after_a_day(
    repository: Repository, client: Callable[[], Updater], tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    repository.refresh(KEYS["online"], NOW - timedelta(days=2))
    with pytest.raises(ExpiredMetadataError):
        client()
    repository.refresh(KEYS["online"], NOW)
    assert seen(client(), 1) is not None


def test_expired_words_of_others_are_not_renewed_over(
    repository: Repository, tmp_path: Path
) -> None:
    put(repository, packed(tmp_path, 1))
    with pytest.raises(PublisherError, match="expired on"):
        repository.refresh(KEYS["online"], NOW + timedelta(days=91))


def test_a_private_key_lies_under_its_passphrase(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", "secret")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert (
        read_public(tmp_path / "key").keyid == read_public(tmp_path / "key.pub").keyid == key.keyid
    )
    assert open_signer(tmp_path / "key", lambda _: "secret").public_key.keyid == key.keyid
    with pytest.raises(PublisherError, match="passphrase"):
        open_signer(tmp_path / "key", lambda _: "wrong")
    with pytest.raises(PublisherError, match="never overwritten"):
        make_key(tmp_path / "key", "secret")


def test_the_whole_way_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIOSD_KEY_PASSPHRASE", "secret")
    keys, repo = tmp_path / "keys", str(tmp_path / "repo")
    keys.mkdir()
    at = {name: str(keys / name) for name in ("a", "b", "c", "targets", "online", "acme")}
    for path in at.values():
        assert main(["keys", "new", path]) == 0
    roots = [word for name in "abc" for word in ("--root", at[name])]
    others = ["--targets", at["targets"], "--online", at["online"]]
    assert main(["keys", "init", repo, *roots, *others]) == 0
    assert main(["keys", "sign", repo, "--key", at["a"], "--key", at["c"]]) == 0
    assert "root 1 is complete" in capsys.readouterr().out
    assert main(["keys", "renew", repo, "--key", at["targets"]]) == 0
    given = ["--expert", "hello", "--publisher-key", at["acme"]]
    assert main(["keys", "delegate", repo, "acme", *given, "--key", at["targets"]]) == 0
    sign = ["--key", at["acme"], "--online-key", at["online"]]
    for number in (1, 2):
        assert main(["publish", str(packed(tmp_path, number)), repo, *sign]) == 0
    assert main(["promote", repo, "hello", "1", *sign]) == 0
    assert main(["revoke", repo, "hello", "1", *sign]) == 0
    assert "instead boards take hello release 2, floor 2" in capsys.readouterr().out
    assert main(["keys", "refresh", repo, "--online-key", at["online"]]) == 0
    assert main(["keys", "show", repo]) == 0
    assert "speaks for hello" in capsys.readouterr().out
    root = Metadata[Root].from_bytes((tmp_path / "repo" / "metadata" / "1.root.json").read_bytes())
    assert root.signed.roles["root"].threshold == 2
    assert main(["publish", str(tmp_path), repo, *sign]) == 1
    assert json.loads((keys / "a.pub").read_text())["scheme"] == "ed25519"
