"""Packages of experts with random weights, for benches and soaks."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Manifest
from aiosd.protocol.toml import decode_toml
from tools.bench.subjects import Subject
from tools.gguf.random_llama import Shape, llama_model, lora_adapter

_TEXT = """
name = "{name}"
release = 1
summary = "Random weights, to measure with"
licence = "CC0-1.0"
task = "text.generate"
[engine]
name = "llama"
context = {context}
batch = {batch}
cache = "{cache}"
base = "{base}"
[input]
type = "text"
[[files]]
path = "{role}.gguf"
role = "{role}"
size = {size}
sha256 = "{digest}"
[prompt]
template = "{{text}}"
[prompt.sampling]
temperature = 1.0
"""


@dataclass(frozen=True)
class Made:
    """A model to make, and how it is to be loaded."""

    name: str
    shape: Shape
    context: int
    batch: int = 256
    cache: str = "f16"


def write_expert(folder: Path, made: Made) -> Subject:
    """Write a package into `folder`/name."""
    return _write(folder, made, "model", llama_model(made.shape))


def write_skill(folder: Path, name: str, base: Made, *, rank: int = 8, seed: int = 8) -> Subject:
    """Write a package of an adapter on the model of another expert."""
    content = lora_adapter(base.shape, rank, seed=seed)
    return _write(folder, replace(base, name=name), "adapter", content, base=base.name)


def _write(folder: Path, made: Made, role: str, content: bytes, *, base: str = "") -> Subject:
    """Write a package whose pages are on the disk before this returns.

    Pages of a file that are not written back yet would count as the worker's own and dirty.
    """
    into = folder / made.name
    into.mkdir(parents=True)
    with (into / f"{role}.gguf").open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    text = _TEXT.format(
        name=made.name,
        context=made.context,
        batch=made.batch,
        cache=made.cache,
        base=base,
        role=role,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
    )
    path = into / "expert.toml"
    path.write_text(text, encoding="utf-8")
    return Subject(into, decode_toml(text, Manifest, path=str(path)), TextInput(text="e e e"))
