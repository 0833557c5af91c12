"""Sockets are bound here or taken from systemd, and never taken from a daemon that lives."""

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from aiosd.daemon.wire.sockets import Sockets, TakenError, passed_sockets
from aiosd.domain.errors import ConfigError
from aiosd.store.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(sockets=tmp_path / "run")


def listen(path: Path) -> socket.socket:
    """Listen as a daemon does that this test stands for."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen(8)
    return made


def test_a_socket_is_bound_with_its_mode_and_removed_at_the_end(layout: Layout) -> None:
    sockets = Sockets(layout, {}, 0o660)
    made = sockets.open("api", "")
    status = layout.api_socket.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660
    made.close()
    sockets.close()
    assert not layout.api_socket.exists()


def test_a_stale_socket_is_replaced(layout: Layout) -> None:
    layout.sockets.mkdir()
    listen(layout.api_socket).close()
    assert layout.api_socket.is_socket()
    sockets = Sockets(layout, {}, 0o660)
    sockets.open("api", "").close()
    sockets.close()


def test_a_socket_on_which_somebody_listens_is_never_stolen(layout: Layout) -> None:
    layout.sockets.mkdir()
    with listen(layout.api_socket) as owner:
        inode = layout.api_socket.stat().st_ino
        sockets = Sockets(layout, {}, 0o660)
        with pytest.raises(TakenError, match="somebody answers"):
            sockets.open("api", "")
        sockets.close()
        assert layout.api_socket.stat().st_ino == inode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(layout.api_socket))
        assert owner.accept()[0].close() is None


def test_only_one_holds_the_lock_and_its_end_frees_it(layout: Layout) -> None:
    first = Sockets(layout, {}, 0o660)
    with pytest.raises(TakenError, match="another aiosd"):
        Sockets(layout, {}, 0o660)
    first.close()
    Sockets(layout, {}, 0o660).close()


def test_a_lock_file_that_nobody_holds_is_no_obstacle(layout: Layout) -> None:
    layout.sockets.mkdir()
    (layout.sockets / "lock").write_text("left over")
    sockets = Sockets(layout, {}, 0o660)
    with (layout.sockets / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sockets.close()


def test_a_path_too_long_for_a_socket_says_how_long_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes, this makes"):
        Sockets(Layout(sockets=tmp_path / ("x" * 100)), {}, 0o660)


def test_a_file_in_the_way_is_named_and_left_alone(layout: Layout) -> None:
    layout.sockets.mkdir()
    layout.api_socket.write_text("precious")
    sockets = Sockets(layout, {}, 0o660)
    with pytest.raises(ConfigError, match=r"api\.sock is in the way"):
        sockets.open("api", "")
    sockets.close()
    assert layout.api_socket.read_text() == "precious"


def test_a_group_that_does_not_exist_is_named(layout: Layout) -> None:
    sockets = Sockets(layout, {}, 0o660)
    with pytest.raises(ConfigError, match="no group 'nobodys-group'"):
        sockets.open("api", "nobodys-group")
    sockets.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        Sockets(Layout(sockets=tmp_path / "file" / "run"), {}, 0o660)


def test_what_systemd_passed_is_found_by_name() -> None:
    said = {"LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api:admin"}
    assert passed_sockets(said, 42) == {"api": 3, "admin": 4}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"LISTEN_PID": "41", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "many", "LISTEN_FDNAMES": "api"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "1"},
    ],
)
def test_what_was_passed_to_others_or_is_nonsense_is_not_taken(said: dict[str, str]) -> None:
    assert "api" not in passed_sockets(said, 42)


def test_a_client_that_connects_before_the_daemon_is_served_on_a_passed_socket(
    layout: Layout,
) -> None:
    layout.sockets.mkdir()
    with listen(layout.api_socket) as passed:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(layout.api_socket))
            client.sendall(b"early")
            sockets = Sockets(layout, {"api": passed.fileno()}, 0o660)
            with sockets.open("api", "") as ours:
                served, _ = ours.accept()
                with served:
                    assert served.recv(5) == b"early"
            sockets.close()
        assert layout.api_socket.exists(), "it is systemd's"
        os.fstat(passed.fileno())
