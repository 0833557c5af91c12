"""Packages of experts with random weights, for benches and soaks."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Manifest
from aiosd.protocol.toml import decode_toml
from tools.bench.subjects import Subject
from tools.gguf.random_llama import Shape, llama_model

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
    """Write a package into `folder`/name; its pages are on the disk before this returns.

    Pages of a file that are not written back yet would count as the worker's own and dirty.
    """
    into = folder / made.name
    into.mkdir(parents=True)
    content = llama_model(made.shape)
    with (into / "model.gguf").open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    text = _TEXT.format(
        name=made.name,
        context=made.context,
        batch=made.batch,
        cache=made.cache,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
    )
    path = into / "expert.toml"
    path.write_text(text, encoding="utf-8")
    return Subject(into, decode_toml(text, Manifest, path=str(path)), TextInput(text="e e e"))
