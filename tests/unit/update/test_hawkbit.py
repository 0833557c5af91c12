"""A hawkBit server that says which releases a board should have, and is believed nothing else."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from fakes.mirror import Handler, Mirror
from fakes.updating import Board
from hypothesis import given, settings
from hypothesis import strategies as st

from aiosd.domain.errors import ConfigError
from aiosd.domain.rollout import Rollout, State
from aiosd.domain.update import Fault, Update, UpdateError
from aiosd.net.exchange import Exchange
from aiosd.update.__main__ import main
from aiosd.update.hawkbit import Deployment, Hawkbit, hawkbit_of

WORDS = "_links deploymentBase cancelAction href id deployment chunks name version stopId download"
KEYS = st.sampled_from(WORDS.split())
CONTROLLER = "DEFAULT/controller/v1/board"


@dataclass
class FakeHawkbit:
    """The device's side of a hawkBit server; feedback is kept."""

    base: dict[str, object] = field(default_factory=dict)
    order: dict[str, object] = field(default_factory=dict)
    told: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    token: str = "TargetToken secret"

    def answer(self, handler: Handler, path: str) -> bool:
        self.tokens.add(handler.headers.get("Authorization", ""))
        if handler.headers.get("Authorization", "") != self.token:
            handler.answer(401, b"")
        elif path == CONTROLLER:
            handler.answer(200, json.dumps(self.base).encode())
        elif path.partition("?")[0] in (
            f"{CONTROLLER}/deploymentBase/18",
            f"{CONTROLLER}/cancelAction/19",
        ):
            handler.answer(200, json.dumps(self.order).encode())
        else:
            handler.answer(404, b"")
        return True

    def wants(self, url: str, *modules: tuple[str, str], **how: str) -> None:
        href = f"{url}/{CONTROLLER}/deploymentBase/18?c=-2129030598"
        self.base = {
            "config": {"polling": {"sleep": "00:10:00"}},
            "_links": {"deploymentBase": {"href": href}, "configData": {"href": "x"}},
        }
        self.order = {
            "id": "18",
            "deployment": {
                "download": "forced",
                "update": "forced",
                "maintenanceWindow": "available",
                **how,
                "chunks": [
                    {"part": "bApp", "name": name, "version": version, "artifacts": []}
                    for name, version in modules
                ],
            },
        }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeHawkbit, Mirror]]:
    fake = FakeHawkbit()

    def do_post(handler: Handler) -> None:
        size = int(handler.headers["Content-Length"])
        fake.tokens.add(handler.headers.get("Authorization", ""))
        fake.told.append((handler.path, json.loads(handler.rfile.read(size))))
        handler.answer(200, b"")

    monkeypatch.setattr(Handler, "do_POST", do_post, raising=False)
    with Mirror(mischief=fake.answer) as mirror:
        yield fake, mirror


def hawkbit(mirror: Mirror, token: str = "TargetToken secret") -> Hawkbit:
    return Hawkbit(Exchange(f"{mirror.url}/{CONTROLLER}", token=token, seconds=2.0))


def test_a_deployment_names_experts_and_releases(server: tuple[FakeHawkbit, Mirror]) -> None:
    fake, mirror = server
    fake.wants(mirror.url, ("one", "2"), ("two", "7"))
    assert hawkbit(mirror).poll() == Deployment("18", {"one": 2, "two": 7}, may_fetch=True)
    assert fake.tokens == {"TargetToken secret"}


def test_no_deployment_is_none(server: tuple[FakeHawkbit, Mirror]) -> None:
    fake, mirror = server
    fake.base = {"config": {"polling": {"sleep": "00:10:00"}}, "_links": {}}
    assert hawkbit(mirror).poll() is None


@pytest.mark.parametrize("how", [{"download": "skip"}, {"maintenanceWindow": "unavailable"}])
def test_a_deployment_may_wait(server: tuple[FakeHawkbit, Mirror], how: dict[str, str]) -> None:
    fake, mirror = server
    fake.wants(mirror.url, ("one", "2"), **how)
    found = hawkbit(mirror).poll()
    assert found is not None
    assert not found.may_fetch


def test_a_cancelled_action_is_let_go(server: tuple[FakeHawkbit, Mirror]) -> None:
    fake, mirror = server
    href = f"{mirror.url}/{CONTROLLER}/cancelAction/19"
    fake.base = {"_links": {"cancelAction": {"href": href}}}
    fake.order = {"id": "19", "cancelAction": {"stopId": "18"}}
    assert hawkbit(mirror).poll() is None
    ((path, told),) = fake.told
    assert path == f"/{CONTROLLER}/cancelAction/19/feedback"
    assert told["status"]["result"]["finished"] == "success"  # type: ignore[index]


@pytest.mark.parametrize("module", [("../one", "2"), ("one", "latest"), ("one", "0"), ("One", "1")])
def test_a_module_that_is_no_expert_is_refused_and_that_is_told(
    server: tuple[FakeHawkbit, Mirror], module: tuple[str, str]
) -> None:
    fake, mirror = server
    fake.wants(mirror.url, module)
    with pytest.raises(UpdateError) as caught:
        hawkbit(mirror).poll()
    assert caught.value.fault is Fault.WRONG_RELEASE
    assert fake.told[0][1]["status"]["result"]["finished"] == "failure"  # type: ignore[index]


@pytest.mark.parametrize("to", ["http://192.0.2.1/x", "https://127.0.0.1/x", "file:///x", "nil"])
def test_a_link_to_another_server_is_not_followed_with_the_token(
    server: tuple[FakeHawkbit, Mirror], to: str
) -> None:
    fake, mirror = server
    fake.base = {"_links": {"deploymentBase": {"href": to}}}
    with pytest.raises(UpdateError) as caught:
        hawkbit(mirror).poll()
    assert caught.value.fault is Fault.REDIRECTED


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{", Fault.BAD_METADATA),
        (b"[]", Fault.BAD_METADATA),
        (b'"' + b"x" * 300_000 + b'"', Fault.TOO_LONG),
    ],
)
def test_an_answer_that_is_none_is_refused(
    server: tuple[FakeHawkbit, Mirror], data: bytes, fault: Fault
) -> None:
    _, mirror = server
    mirror.mischief = lambda handler, _path: handler.answer(200, data) is None
    with pytest.raises(UpdateError) as caught:
        hawkbit(mirror).poll()
    assert caught.value.fault is fault


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(base=JSON, order=JSON)
def test_whatever_a_server_says_is_a_deployment_or_an_error(base: object, order: object) -> None:
    class Says:
        place = SimpleNamespace(path="/t/controller/v1/d")
        path_of = staticmethod(Exchange("http://127.0.0.1").path_of)

        def ask(self, method: str, path: str, body: object = None) -> bytes:
            del body
            said = base if path == self.place.path else order
            return b"" if method == "POST" else json.dumps(said).encode()

    with contextlib.suppress(UpdateError):
        found = Hawkbit(cast("Exchange", Says())).poll()
        assert found is None or found.wanted


def test_a_refused_token_is_not_repeated(server: tuple[FakeHawkbit, Mirror]) -> None:
    _, mirror = server
    with pytest.raises(UpdateError) as caught:
        hawkbit(mirror, "TargetToken wrong-secret").poll()
    assert caught.value.fault is Fault.REFUSED
    assert "wrong-secret" not in str(caught.value)


def row(state: State, release: int = 2) -> Rollout:
    return Rollout(name="one", release=release, sha256="0" * 64, state=state, reason="because")


@pytest.mark.parametrize(
    ("found", "serves", "finished"),
    [
        (None, 1, "none"),
        (None, 2, "success"),
        (row(State.FETCHING), 1, "none"),
        (row(State.CANARY), 1, "none"),
        (row(State.COMMITTED), 2, "success"),
        (row(State.COLLECTED), 2, "success"),
        (row(State.QUARANTINED), 1, "failure"),
        (row(State.CANCELLED), 1, "failure"),
        (row(State.QUARANTINED, release=3), 1, "none"),
    ],
)
def test_what_is_told_is_what_the_ledger_says(
    server: tuple[FakeHawkbit, Mirror], found: Rollout | None, serves: int, finished: str
) -> None:
    fake, mirror = server
    deployment = Deployment("18", {"one": 2}, may_fetch=True)
    assert hawkbit(mirror).report(deployment, {"one": found}, lambda _name: serves) == finished
    status = fake.told[0][1]["status"]
    assert isinstance(status, dict)
    assert status["execution"] == ("proceeding" if finished == "none" else "closed")
    assert status["details"]


def configure(board: Board, mirror: Mirror) -> list[str]:
    root, token, path = (board.root / name for name in ("root.json", "token", "aiosd.toml"))
    root.write_bytes(board.bootstrap)
    token.write_text("secret\n")
    path.write_text(
        f'[paths]\nexperts = ["{board.layout.experts[0]}"]\nstate = "{board.layout.state}"\n'
        f'sockets = "{board.root}/run"\n'
        f'[update]\nurl = "{board.mirror.url}"\nroot = "{root}"\nreserve = "0"\n'
        f'hawkbit = "{mirror.url}/{CONTROLLER}"\nhawkbit_token_file = "{token}"\n'
    )
    return ["--config", str(path)]


def test_a_managed_board_takes_the_release_that_is_wanted_and_no_other(
    board: Board, server: tuple[FakeHawkbit, Mirror]
) -> None:
    fake, mirror = server
    board.repository.publish("one", 2)
    board.repository.publish("one", 3)
    fake.base = {"_links": {}}
    assert main(configure(board, mirror)) == 0
    assert board.releases.installed("one") == [1]
    fake.wants(mirror.url, ("one", "2"))
    assert main(configure(board, mirror)) == 0
    assert board.releases.installed("one") == [1, 2]
    assert fake.told[-1][1]["status"]["details"] == ["one: staged"]  # type: ignore[index]


def test_hawkbit_cannot_make_a_board_take_what_nobody_signed(
    board: Board, server: tuple[FakeHawkbit, Mirror]
) -> None:
    fake, mirror = server
    fake.wants(mirror.url, ("one", "9"))
    assert main(configure(board, mirror)) == 0
    assert board.releases.installed("one") == [1]
    assert fake.told[-1][1]["status"]["result"]["finished"] == "none"  # type: ignore[index]


def test_a_token_that_cannot_be_read_is_a_wrong_setting() -> None:
    assert hawkbit_of(Update()) is None
    with pytest.raises(ConfigError, match="nowhere"):
        hawkbit_of(Update(hawkbit="http://127.0.0.1/x", hawkbit_token_file="/nowhere"))
