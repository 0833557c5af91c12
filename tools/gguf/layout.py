"""The bytes of a GGUF file: settings, tensors, and both put together (ggml's `docs/gguf.md`)."""

import struct
from dataclasses import dataclass

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
F32_TENSOR, F16_TENSOR, Q4_0_TENSOR, Q8_0_TENSOR = 0, 1, 2, 8


@dataclass(frozen=True)
class Tensor:
    """A tensor with its bytes; the shape has the row length first, as in the file."""

    name: str
    shape: tuple[int, ...]
    data: bytes
    kind: int = F32_TENSOR


def text(value: str | bytes) -> bytes:
    """Return a text with its length before it."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    """Return a setting whose value is written already."""
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    """Return a setting that is a whole number."""
    return pair(key, U32, struct.pack("<I", value))


def real(key: str, value: float) -> bytes:
    """Return a setting that is a real number."""
    return pair(key, F32, struct.pack("<f", value))


def string(key: str, value: str) -> bytes:
    """Return a setting that is a text."""
    return pair(key, STRING, text(value))


def strings(key: str, values: list[bytes]) -> bytes:
    """Return a setting that is an array of texts."""
    head = struct.pack("<IQ", STRING, len(values))
    return pair(key, ARRAY, head + b"".join(map(text, values)))


def numbers(key: str, kind: int, form: str, values: list[float] | list[int]) -> bytes:
    """Return a setting that is an array of numbers; `form` is theirs in `struct`."""
    head = struct.pack("<IQ", kind, len(values))
    return pair(key, ARRAY, head + struct.pack(f"<{len(values)}{form}", *values))


def gguf(
    pairs: list[bytes], tensors: list[Tensor] | None = None, *, version: int = 3, align: int = 32
) -> bytes:
    """Return the bytes of a file."""
    tensors = tensors or []
    head = [b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)), *pairs]
    body: list[bytes] = []
    at = 0
    for tensor in tensors:
        head.append(text(tensor.name) + struct.pack("<I", len(tensor.shape)))
        head.append(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape))
        head.append(struct.pack("<IQ", tensor.kind, at))
        padded = tensor.data + b"\0" * (-len(tensor.data) % align)
        body.append(padded)
        at += len(padded)
    start = b"".join(head)
    return b"".join([start, b"\0" * (-len(start) % align), *body])
