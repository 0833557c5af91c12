"""Where the sockets are, and what is wrong with one."""

import socket
from pathlib import Path

import pytest

from aiosd.client.address import find_address, is_listening, unreachable
from aiosd.domain.errors import InvalidError


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOSD_SOCKET_DIR", raising=False)
    assert find_address().api == Path("/run/aiosd/api.sock")
    monkeypatch.setenv("AIOSD_SOCKET_DIR", "/a")
    assert find_address().admin == Path("/a/admin.sock")
    assert find_address("/b").events == Path("/b/events.sock")
    assert find_address(Path("/b/api.sock")) == find_address("ipc:///b/api.sock")


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    find_address("/" + "x" * 94)
    with pytest.raises(InvalidError, match="at most 107"):
        find_address("/" + "x" * 95)


def test_a_socket_held_open_by_somebody_is_listening(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert not is_listening(path)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        assert not is_listening(path)
        held.listen(4)
        assert is_listening(path)
        assert unreachable(path, 1.0).details["reason"] == "silent"
    assert unreachable(path, 1.0).details["reason"] == "refused"
