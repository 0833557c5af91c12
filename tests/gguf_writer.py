"""Small GGUF files: headers to spoil, and a whole model with random weights."""

from pathlib import Path

from tools.gguf.layout import (
    ARRAY,
    BOOL,
    F32,
    F32_TENSOR,
    Q8_0_TENSOR,
    STRING,
    U32,
    U64,
    Tensor,
    gguf,
    number,
    numbers,
    pair,
    string,
    strings,
    text,
)
from tools.gguf.random_llama import SMALL, llama_model, settings

__all__ = [
    "ARRAY",
    "BOOL",
    "F32",
    "F32_TENSOR",
    "Q8_0_TENSOR",
    "STRING",
    "U32",
    "U64",
    "Tensor",
    "gguf",
    "number",
    "numbers",
    "pair",
    "small_model",
    "small_pairs",
    "string",
    "strings",
    "text",
    "write_small_model",
]


def small_pairs() -> list[bytes]:
    """Return the settings of a small llama model."""
    return settings(SMALL)


def small_model() -> bytes:
    """Return a llama model of 2 layers with random weights, which llama.cpp runs."""
    return llama_model(SMALL, seed=11)


def write_small_model(folder: Path) -> Path:
    path = folder / "small.gguf"
    path.write_bytes(small_model())
    return path
