"""A daemon to do things to."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from fakes.running import DaemonProcess


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that is not started yet; its log is shown when the test fails."""
    if not entry_points(group="aiosd.engines", name="echo"):
        pytest.skip("the package is not installed: no engines to be found")
    made = DaemonProcess(tmp_path)
    yield made
    try:
        made.stop()
    finally:
        print(made.log)  # noqa: T201 - pytest shows it if the test failed
