"""Writes small GGUF files: headers to spoil, and a whole model with random weights."""

import random
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
F32_TENSOR, Q8_0_TENSOR = 0, 8


@dataclass(frozen=True)
class Tensor:
    """A tensor with its bytes; the shape has the row length first, as in the file."""

    name: str
    shape: tuple[int, ...]
    data: bytes
    kind: int = F32_TENSOR


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def string(key: str, value: str) -> bytes:
    return pair(key, STRING, text(value))


def strings(key: str, values: list[bytes]) -> bytes:
    head = struct.pack("<IQ", STRING, len(values))
    return pair(key, ARRAY, head + b"".join(map(text, values)))


def numbers(key: str, kind: int, form: str, values: list[float] | list[int]) -> bytes:
    head = struct.pack("<IQ", kind, len(values))
    return pair(key, ARRAY, head + struct.pack(f"<{len(values)}{form}", *values))


def gguf(
    pairs: list[bytes], tensors: list[Tensor] | None = None, *, version: int = 3, align: int = 32
) -> bytes:
    """Return the bytes of a file."""
    tensors = tensors or []
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    body = b""
    for tensor in tensors:
        head += text(tensor.name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
        head += struct.pack("<IQ", tensor.kind, len(body))
        body += tensor.data + b"\0" * (-len(tensor.data) % align)
    return head + b"\0" * (-len(head) % align) + body


def small_pairs() -> list[bytes]:
    """Return the settings of a small llama model."""
    return [
        string("general.architecture", "llama"),
        string("general.name", "small"),
        number("llama.context_length", 256),
        number("llama.embedding_length", 64),
        number("llama.block_count", 2),
        number("llama.feed_forward_length", 128),
        number("llama.attention.head_count", 4),
        number("llama.attention.head_count_kv", 2),
        pair("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
        pair("llama.rope.freq_base", F32, struct.pack("<f", 10000.0)),
    ]


def vocabulary() -> tuple[list[bytes], list[int]]:
    """Return tokens that can write any bytes, with their types."""
    marks = [b"<unk>", b"<s>", b"</s>", b"<turn>"]
    single = [f"<0x{value:02X}>".encode() for value in range(256)]
    letters = [chr(value).encode() for value in range(97, 123)]
    spaced = ["▁".encode(), *("▁".encode() + letter for letter in letters)]
    tokens = [*marks, *single, *letters, *spaced]
    types = [2, 3, 3, 3, *[6] * 256, *[1] * (len(letters) + len(spaced))]
    return tokens, types


def small_model() -> bytes:
    """Return a llama model of 2 layers with random weights, which llama.cpp runs."""
    source = random.Random(7)
    tokens, types = vocabulary()

    def weights(name: str, rows: int, columns: int) -> Tensor:
        data = array("f", (source.gauss(0, columns**-0.5) for _ in range(rows * columns)))
        return Tensor(name, (columns, rows), data.tobytes())

    def norm(name: str) -> Tensor:
        return Tensor(name, (64,), array("f", [1.0] * 64).tobytes())

    tensors = [
        weights("token_embd.weight", len(tokens), 64),
        norm("output_norm.weight"),
        weights("output.weight", len(tokens), 64),
    ]
    for layer in range(2):
        at = f"blk.{layer}."
        tensors += [norm(f"{at}attn_norm.weight"), norm(f"{at}ffn_norm.weight")]
        tensors += [
            weights(f"{at}{name}.weight", rows, columns)
            for name, rows, columns in (
                ("attn_q", 64, 64),
                ("attn_k", 32, 64),
                ("attn_v", 32, 64),
                ("attn_output", 64, 64),
                ("ffn_gate", 128, 64),
                ("ffn_up", 128, 64),
                ("ffn_down", 64, 128),
            )
        ]
    tokenizer = [
        string("tokenizer.ggml.model", "llama"),
        strings("tokenizer.ggml.tokens", tokens),
        numbers("tokenizer.ggml.scores", F32, "f", [-float(at) for at in range(len(tokens))]),
        numbers("tokenizer.ggml.token_type", 5, "i", types),
        number("tokenizer.ggml.bos_token_id", 1),
        number("tokenizer.ggml.eos_token_id", 2),
        number("tokenizer.ggml.unknown_token_id", 0),
    ]
    return gguf([*small_pairs(), *tokenizer], tensors)


def write_small_model(folder: Path) -> Path:
    path = folder / "small.gguf"
    path.write_bytes(small_model())
    return path
