"""Fixtures that any test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
