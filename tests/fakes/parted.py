"""Text experts of random weights, published with their model in parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fakes.published import layout

from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import EngineNeed, InputNeed, Manifest, PackageFile, Task
from aiosd.models.gguf_header import read_header
from aiosd.store.packed import bring
from aiosd.store.releases import Releases
from tools.expert.pack import Terms, pack
from tools.gguf.package import Made, write_expert
from tools.gguf.random_llama import Shape

NOW = 1_700_000_000.0
# Matrices of 70 to 280 KB: some parts have one tensor, some have several.
SHAPE = Shape(256, 2, 4, 4, 512, 1_040, 512, "Q8_0")
BLOCK = 34  # of Q8_0: a scale and 32 numbers


@dataclass(frozen=True)
class Parted:
    """A packed release, and the whole model that its parts were cut from."""

    out: Path
    model: Path

    @property
    def manifest(self) -> bytes:
        """Its `manifest.json`."""
        return (self.out / "manifest.json").read_bytes()

    @property
    def blobs(self) -> dict[str, bytes]:
        """Its blobs, by the path at which a server has them."""
        there = self.out / "blobs"
        found = (path for path in there.rglob("*") if path.is_file())
        return {f"blobs/{path.relative_to(there)}": path.read_bytes() for path in found}


def packed_in_parts(
    folder: Path, name: str, release: int = 1, *, expects: str = "", made: Made | None = None
) -> Parted:
    """Pack a release; a later one differs from the first in the matrix of outputs alone."""
    given = made or Made(name, SHAPE, 128, 32)
    source = write_expert(folder / f"{name}-{release}", replace(given, name=name)).folder
    model = source / "model.gguf"
    if release > 1:
        model.write_bytes(_changed(model, release))
    text = (source / "expert.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("sha256")]
    at = lines.index("release = 1")
    lines[at] = f"release = {release}"
    at = next(each for each, line in enumerate(lines) if line.startswith("size"))
    lines[at] += f'\nsha256 = "{hashlib.sha256(model.read_bytes()).hexdigest()}"'
    lines[-1] = "temperature = 0.0\nmax_tokens = 8"
    expect = f'text = "{expects}"' if expects else 'finish = "length"'
    lines.append(f'[[self_test.cases]]\ntext = "e e"\nexpect = {{ {expect} }}')
    (source / "expert.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = folder / f"{name}-{release}" / "packed"
    pack(source, out, Terms(parts="always"), NOW)
    return Parted(out, model)


def install_packed(board: Path, packed: Parted) -> Releases:
    """Install a packed release below a board's folder, as the one that serves."""
    releases = Releases(layout(board))
    with releases.alone():
        manifest = bring(packed.out, releases).manifest
        releases.activate(manifest.name, manifest.release)
    return releases


def _changed(model: Path, release: int) -> bytes:
    """Return a model whose matrix of outputs has its first blocks last."""
    header = read_header(model)
    tensor = header.tensors["output.weight"]
    data = model.read_bytes()
    begin = header.begin + tensor.at
    end, cut = begin + tensor.size, begin + BLOCK * release
    return data[:begin] + data[cut:end] + data[begin:cut] + data[end:]


def parted_manifest(files: Sequence[PackageFile], engine: str) -> Manifest:
    """Return the manifest of a text expert of these files."""
    return Manifest(
        name="one",
        release=1,
        summary="one",
        licence="MIT",
        task=Task.TEXT_GENERATE,
        engine=EngineNeed(name=engine),
        input=InputNeed(type=InputType.TEXT),
        files=list(files),
    )
