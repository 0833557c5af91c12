"""Models of the llama architecture with random weights, of any shape, type and size; and adapters.

They load, take memory and time, and answer with nonsense as long as real ones: what benches, soak
tests and tests of the loader need, and nothing that has to be downloaded.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.gguf.layout import (
    F16_TENSOR,
    F32_TENSOR,
    Q4_0_TENSOR,
    Q8_0_TENSOR,
    Tensor,
    gguf,
    number,
    numbers,
    pair,
    real,
    string,
    strings,
)

F32_ARRAY, I32_ARRAY, BOOL_SETTING = 6, 5, 7
KINDS = {"F32": F32_TENSOR, "F16": F16_TENSOR, "Q4_0": Q4_0_TENSOR, "Q8_0": Q8_0_TENSOR}
_BLOCK = 32
_UNIFORM_127 = 127 / math.sqrt(3)  # standard deviation of whole numbers from -127 to 127
_UNIFORM_8 = 16 / math.sqrt(12)  # likewise from -8 to 7


@dataclass(frozen=True)
class Shape:
    """What a model is like; `kind` is the type of its matrices.

    `tied` leaves out the output matrix, so that the table of embeddings is used for it as well.
    """

    embedding: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    vocabulary: int = 313
    context: int = 256
    kind: str = "F32"
    tied: bool = False
    name: str = "small"

    @property
    def kv_width(self) -> int:
        """The length of a key, and of a value, of all heads together."""
        return self.embedding // self.heads * self.kv_heads

    def matrices(self) -> Iterator[tuple[str, int, int]]:
        """Yield the name, rows and columns of every matrix of the layers."""
        wide, narrow = self.embedding, self.kv_width
        for layer in range(self.layers):
            for name, rows, columns in (
                ("attn_q", wide, wide),
                ("attn_k", narrow, wide),
                ("attn_v", narrow, wide),
                ("attn_output", wide, wide),
                ("ffn_gate", self.feed_forward, wide),
                ("ffn_up", self.feed_forward, wide),
                ("ffn_down", wide, self.feed_forward),
            ):
                yield f"blk.{layer}.{name}.weight", rows, columns


SMALL = Shape()


def settings(shape: Shape) -> list[bytes]:
    """Return what the file says of the model."""
    return [
        string("general.architecture", "llama"),
        string("general.name", shape.name),
        number("llama.context_length", shape.context),
        number("llama.embedding_length", shape.embedding),
        number("llama.block_count", shape.layers),
        number("llama.feed_forward_length", shape.feed_forward),
        number("llama.attention.head_count", shape.heads),
        number("llama.attention.head_count_kv", shape.kv_heads),
        real("llama.attention.layer_norm_rms_epsilon", 1e-5),
        real("llama.rope.freq_base", 10000.0),
    ]


def vocabulary(size: int) -> tuple[list[bytes], list[int]]:
    """Return `size` tokens that can write any bytes (313 at least), with their types.

    Beyond the bytes, the letters and the letters with a space before them, the rest are words of
    eight characters that no text will hold.
    """
    marks = [b"<unk>", b"<s>", b"</s>", b"<turn>"]
    single = [f"<0x{value:02X}>".encode() for value in range(256)]
    letters = [chr(value).encode() for value in range(97, 123)]
    spaced = ["▁".encode(), *("▁".encode() + letter for letter in letters)]
    tokens = [*marks, *single, *letters, *spaced]
    types = [2, 3, 3, 3, *[6] * 256, *[1] * (len(letters) + len(spaced))]
    if size < len(tokens):
        raise ValueError(
            f"a vocabulary of {size} cannot write every byte: {len(tokens)} are needed"
        )
    more = range(size - len(tokens))
    return tokens + [f"▁#{at:07d}".encode() for at in more], types + [1 for _ in more]


def tokenizer(shape: Shape) -> list[bytes]:
    """Return what the file says of the vocabulary."""
    tokens, types = vocabulary(shape.vocabulary)
    scores = [-float(at) for at in range(len(tokens))]
    return [
        string("tokenizer.ggml.model", "llama"),
        strings("tokenizer.ggml.tokens", tokens),
        numbers("tokenizer.ggml.scores", F32_ARRAY, "f", scores),
        numbers("tokenizer.ggml.token_type", I32_ARRAY, "i", types),
        number("tokenizer.ggml.bos_token_id", 1),
        number("tokenizer.ggml.eos_token_id", 2),
        number("tokenizer.ggml.unknown_token_id", 0),
        pair("tokenizer.ggml.add_bos_token", BOOL_SETTING, b"\x01"),
    ]


def llama_model(shape: Shape = SMALL, seed: int = 7, more: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of a model file, with `more` settings than it needs."""
    source = np.random.default_rng(seed)
    wide, words = shape.embedding, shape.vocabulary
    tensors = [
        _matrix(source, "token_embd.weight", words, wide, shape.kind),
        _ones("output_norm.weight", wide),
    ]
    if not shape.tied:
        tensors.append(_matrix(source, "output.weight", words, wide, shape.kind))
    for layer in range(shape.layers):
        tensors += [_ones(f"blk.{layer}.{name}_norm.weight", wide) for name in ("attn", "ffn")]
    tensors += [_matrix(source, *matrix, shape.kind) for matrix in shape.matrices()]
    return gguf([*settings(shape), *tokenizer(shape), *more], tensors)


def lora_adapter(
    shape: Shape = SMALL, rank: int = 4, seed: int = 8, strength: float = 1.0
) -> bytes:
    """Return the bytes of an adapter for the matrices of a model's layers.

    `strength` is how large the change is, in the standard deviation of the weights that it changes.
    """
    source = np.random.default_rng(seed)
    tensors = []
    for name, rows, columns in shape.matrices():
        down = _matrix(source, f"{name}.lora_a", rank, columns, "F32")
        up = source.standard_normal((rows, rank), dtype=np.float32) * strength / math.sqrt(rank)
        tensors += [down, Tensor(f"{name}.lora_b", (rank, rows), up.tobytes())]
    head = [
        string("general.type", "adapter"),
        string("general.architecture", "llama"),
        string("adapter.type", "lora"),
        real("adapter.lora.alpha", float(rank)),
    ]
    return gguf(head, tensors)


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def _ones(name: str, length: int) -> Tensor:
    """Return the weights of a normalisation that changes nothing."""
    return Tensor(name, (length,), np.ones(length, dtype=np.float32).tobytes())


def _matrix(source: np.random.Generator, name: str, rows: int, columns: int, kind: str) -> Tensor:
    """Return a matrix whose products neither grow nor shrink."""
    spread = columns**-0.5
    count = rows * columns
    data: npt.NDArray[np.generic]
    if kind in {"F32", "F16"}:
        values = source.standard_normal(count, dtype=np.float32)
        values *= np.float32(spread)
        data = values if kind == "F32" else values.astype(np.float16)
    else:
        wide = 32 if kind == "Q8_0" else 16
        steps = _UNIFORM_127 if kind == "Q8_0" else _UNIFORM_8
        data = np.empty((count // _BLOCK, 2 + wide), dtype=np.uint8)
        data[:, :2] = np.array([spread / steps], dtype=np.float16).view(np.uint8)
        data[:, 2:] = source.integers(0, 256, (count // _BLOCK, wide), dtype=np.uint8)
    return Tensor(name, (columns, rows), data.tobytes(), KINDS[kind])
