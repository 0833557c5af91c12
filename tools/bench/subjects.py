"""What the figures are measured with: bundled experts, and public models where they are at hand.

A fresh clone has the bundled experts only; `../shared/assets` (or $AIOSD_ASSETS) adds models of
the sizes that the targets name.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiosd.domain.inputs import (
    AudioInput,
    ImageInput,
    Input,
    InputType,
    JsonInput,
    SeriesInput,
    TensorInput,
    TextInput,
)
from aiosd.domain.manifest import Manifest, SelfTestCase
from aiosd.protocol.toml import decode_toml

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("AIOSD_ASSETS", ROOT.parent / "shared" / "assets"))

_KEYWORD = """
name = "bench-keyword"
release = 1
summary = "Keyword spotting from ready-made features, to measure with"
licence = "Apache-2.0"
task = "audio.classify"
[engine]
name = "litert"
[input]
type = "tensor"
[[files]]
path = "model.tflite"
role = "model"
size = {size}
sha256 = "{digest}"
[[pre]]
step = "tensor.decode"
dtype = "int8"
shape = [49, 10]
[[post]]
step = "scores.top_k"
k = 3
labels = [
  "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown",
]
"""

_STORIES = """
name = "bench-stories"
release = 1
summary = "A tiny story teller, to measure with"
licence = "MIT"
task = "text.generate"
[engine]
name = "llama"
context = 512
[input]
type = "text"
[[files]]
path = "model.gguf"
role = "model"
size = {size}
sha256 = "{digest}"
[prompt]
template = "{{text}}"
[prompt.sampling]
temperature = 0.0
"""


@dataclass(frozen=True)
class Subject:
    """An expert to measure with: its package, and a question to ask it."""

    folder: Path
    manifest: Manifest
    question: Input

    @property
    def name(self) -> str:
        """The expert's name."""
        return self.manifest.name

    @property
    def model_bytes(self) -> int:
        """The size of the model file."""
        return self.manifest.model.size if self.manifest.model else 0

    def __str__(self) -> str:
        return f"{self.name} ({self.model_bytes / 1000:.0f} kB)"


def bundled() -> list[Subject]:
    """Return the experts of this repository that say how they are asked, by name."""
    found = []
    for path in sorted((ROOT / "experts").glob("*/expert.toml")):
        manifest = _manifest(path)
        if manifest.model and manifest.self_test.cases:
            question = _question(manifest, manifest.self_test.cases[0], path.parent)
            found.append(Subject(path.parent, manifest, question))
    return found


def keyword(into: Path) -> Subject | None:
    """Package the 54 kB keyword model, asked with 490 bytes; None where it is not at hand."""
    source = ASSETS / "tflite" / "audio" / "mlperf_kws_ref_int8.tflite"
    question = TensorInput(dtype="int8", shape=[49, 10], data=bytes(range(1, 246)) * 2)
    return _packaged(source, into / "bench-keyword", _KEYWORD, question)


def stories(into: Path) -> Subject | None:
    """Package the 0.7 MB text model; None where it is not at hand."""
    source = ASSETS / "gguf" / "TinyStories-656K-Q8_0.gguf"
    question = TextInput(text="Once upon a time there was a little")
    return _packaged(source, into / "bench-stories", _STORIES, question)


def upstream(into: Path) -> list[Subject]:
    """Package the public TFLite models whose files are at hand and that say how they are asked."""
    files = {_digest(path): path for path in (ASSETS / "tflite").rglob("*") if path.is_file()}
    found = []
    for path in sorted((ROOT / "experts" / "upstream").glob("*/expert.toml")):
        manifest = _manifest(path)
        missing = [each for each in manifest.files if not (path.parent / each.path).exists()]
        if manifest.self_test.cases and all(each.sha256 in files for each in missing):
            folder = into / manifest.name
            shutil.copytree(path.parent, folder)
            for each in missing:
                shutil.copyfile(files[each.sha256], folder / each.path)
            question = _question(manifest, manifest.self_test.cases[0], folder)
            found.append(Subject(folder, manifest, question))
    return found


def small_tflite(into: Path) -> Subject | None:
    """Return the TFLite expert whose model is nearest to 50 kB."""
    known = [keyword(into), *(each for each in bundled() if _engine(each) == "litert")]
    there = [each for each in known if each is not None]
    return min(there, key=lambda each: abs(each.model_bytes - 50_000), default=None)


def small_gguf(into: Path) -> Subject | None:
    """Return the GGUF expert whose model is nearest to 0.7 MB."""
    known = [stories(into), *(each for each in bundled() if _engine(each) == "llama")]
    there = [each for each in known if each is not None]
    return min(there, key=lambda each: abs(each.model_bytes - 700_000), default=None)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _engine(subject: Subject) -> str:
    return subject.manifest.engine.name


def _manifest(path: Path) -> Manifest:
    return decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))


def _packaged(source: Path, folder: Path, text: str, question: Input) -> Subject | None:
    if not source.is_file():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    content = source.read_bytes()
    copy = folder / f"model{source.suffix}"
    if not copy.exists():
        shutil.copyfile(source, copy)
    path = folder / "expert.toml"
    digest = hashlib.sha256(content).hexdigest()
    path.write_text(text.format(size=len(content), digest=digest), encoding="utf-8")
    return Subject(folder, _manifest(path), question)


def _question(manifest: Manifest, case: SelfTestCase, folder: Path) -> Input:
    """Return the input of a self-test."""
    data = (folder / case.file).read_bytes() if case.file else None
    match manifest.input.type:
        case InputType.IMAGE:
            return ImageInput(data=data)
        case InputType.AUDIO:
            return AudioInput(data=data)
        case InputType.SERIES:
            return SeriesInput(values=case.values, data=data)
        case InputType.JSON:
            return JsonInput(value=msgspec.json.decode(case.json or "null"))
        case _:
            return TextInput(text=case.text or "")
