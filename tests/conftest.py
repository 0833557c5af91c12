"""Fixtures that any test may use."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Shared machines are slow at times, so no example has a deadline; where CI runs, examples are the
# same each time, and news is found at a desk.
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")

# A test run in the background has SIGINT ignored, and would hand that on to what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of third-party models and data, which is no part of the project."""
    folder = Path(os.environ.get("AIOSD_ASSETS", ROOT.parent / "shared" / "assets"))
    if not folder.is_dir():
        pytest.skip(f"needs models and data in {folder} (or set AIOSD_ASSETS)")
    return folder
