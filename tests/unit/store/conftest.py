"""Packages made on the spot."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

PackageMaker = Callable[..., Path]

MANIFEST = """\
name = "{name}"
release = {release}
summary = "A package of a test"
licence = "MIT"
task = "echo"

[engine]
name = "echo"

[input]
type = "text"
"""


def file_table(name: str, data: bytes, role: str = "") -> str:
    digest = hashlib.sha256(data).hexdigest()
    return (
        f'\n[[files]]\npath = "{name}"\nsize = {len(data)}\nsha256 = "{digest}"\nrole = "{role}"\n'
    )


@pytest.fixture
def make_package() -> PackageMaker:
    """Return what writes a package folder of that name below a parent."""

    def make(
        parent: Path,
        name: str,
        *,
        release: int = 1,
        model: bytes | None = b"model bytes",
        extra: str = "",
        keep_model: bool = True,
    ) -> Path:
        folder = parent / name
        folder.mkdir(parents=True)
        text = MANIFEST.format(name=name, release=release)
        if model is not None:
            text += file_table("model.bin", model, "model")
            if keep_model:
                (folder / "model.bin").write_bytes(model)
        (folder / "expert.toml").write_text(text + extra, encoding="utf-8")
        return folder

    return make
