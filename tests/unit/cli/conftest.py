"""A daemon that is a thread, and the command line that finds it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.cli.main import main


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def ctl(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("AIOSD_SOCKET_DIR", str(daemon.folder))
    return lambda *words: main(words)
