"""Models that mean harm, signed as they should be: refused before a native library sees a byte.

Each is of the kind of a published flaw; the files are made here. What is well formed and does harm
only when it runs is what the sandbox, the self-tests and the canary are for.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from fakes.updating import Board
from gguf_writer import ARRAY, F32, U32, Tensor, gguf, number, numbers, pair, small_pairs, string
from tiny_models import doubler

from aiosd.domain.model_parts import part_name
from aiosd.domain.rollout import State
from aiosd.domain.update import Fault

WEIGHT = Tensor("token_embd.weight", (8,), bytes(32))
TFLITE = doubler((1, 3))


def head(tensors: int, pairs: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + rest


def tensor(
    dims: tuple[int, ...], offset: int = 0, kind: int = 0, ndims: int | None = None
) -> bytes:
    """The header of one tensor, whatever it says."""
    name = b"token_embd.weight"
    said = len(dims) if ndims is None else ndims
    return (
        struct.pack("<Q", len(name))
        + name
        + struct.pack("<I", said)
        + struct.pack(f"<{len(dims)}Q", *dims)
        + struct.pack("<IQ", kind, offset)
    )


def spoiled(*more: bytes) -> bytes:
    return gguf([*small_pairs(), *more], [WEIGHT])


def flatbuffer(change: Callable[[bytearray], None]) -> bytes:
    data = bytearray(TFLITE)
    change(data)
    return bytes(data)


def graph(change: Callable[[schema.SubGraphT], None]) -> bytes:
    """The model with its graph changed, as a whole flatbuffer again."""
    model = schema.ModelT.InitFromPackedBuf(TFLITE, 0)
    change(model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def asks_for(index: int) -> Callable[[schema.SubGraphT], None]:
    def change(found: schema.SubGraphT) -> None:
        found.operators[0].inputs = np.array([index], np.int32)

    return change


def shaped(*shape: int) -> Callable[[schema.SubGraphT], None]:
    def change(found: schema.SubGraphT) -> None:
        found.tensors[0].shape = np.array(shape, np.int32)

    return change


def as_zip() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../evil", "x")
    return out.getvalue()


GGUF = {
    "CVE-2024-23605, more pairs than the file can hold": head(0, 2**60),
    "CVE-2024-21802, more tensors than the file can hold": head(2**60, 0),
    "CVE-2024-21802, more dimensions than a tensor has": head(1, 0, tensor((1,), ndims=2**31)),
    "CVE-2025-53630, sizes that wrap around": head(1, 0, tensor((2**32, 2**32, 2**32, 2**32))),
    "as CVE-2026-27940, tensors whose sizes wrap around when added": head(
        3, 0, tensor((2**31, 2**30)) * 3
    ),
    "as CVE-2026-33298, a size that wraps around when counted in bytes": head(
        1, 0, tensor((2**62,))
    ),
    "an array of 2^63 elements": gguf(
        [*small_pairs(), pair("x", ARRAY, struct.pack("<IQ", U32, 2**63))], [WEIGHT]
    ),
    "an array of arrays without end": gguf(
        [*small_pairs(), pair("x", ARRAY, struct.pack("<IQ", ARRAY, 1) * 100)], [WEIGHT]
    ),
    "CVE-2025-49847, a text longer than the file": gguf(
        [*small_pairs(), pair("x", 8, struct.pack("<Q", 2**64 - 1))], [WEIGHT]
    ),
    "an alignment of 2^31": spoiled(number("general.alignment", 2**31)),
    "an alignment of zero": spoiled(number("general.alignment", 0)),
    "a vocabulary of another type": spoiled(numbers("tokenizer.ggml.tokens", U32, "I", [1])),
    "scores that are a text": spoiled(string("tokenizer.ggml.scores", "1")),
    "token types of another type": spoiled(numbers("tokenizer.ggml.token_type", F32, "f", [1.0])),
    "weights beyond the end of the file": head(1, 0, tensor((8,), offset=2**40)),
    "a type of weights that there is not": head(1, 0, tensor((8,), kind=9999)),
    "no model but a pickle": pickle.dumps({"a": 1}),
    "no model but an archive": as_zip(),
    "nothing": b"",
    "a header cut short": spoiled()[:40],
}
LITERT = {
    "as CVE-2018-8825, an operator on a tensor that is not there": graph(asks_for(2**31 - 1)),
    "as PYSEC-2020-134, an operator on a tensor before the first": graph(asks_for(-2)),
    "as CVE-2022-23560, a shape whose size wraps around": graph(shaped(2**31 - 1, 2**31 - 1, 8)),
    "a shape below zero": graph(shaped(-5, 3)),
    "data in a buffer that is not there": graph(
        lambda found: setattr(found.tensors[0], "buffer", 2**32 - 1)
    ),
    "a root beyond the end": flatbuffer(lambda data: data.__setitem__(slice(0, 4), b"\xff" * 4)),
    "a table before the beginning": flatbuffer(
        lambda data: data.__setitem__(slice(int.from_bytes(data[:4], "little"), None), b"\x7f" * 64)
    ),
    "vectors whose lengths wrap around": flatbuffer(
        lambda data: data.__setitem__(slice(8, len(data)), b"\xf0" * (len(data) - 8))
    ),
    "another kind of file": flatbuffer(lambda data: data.__setitem__(slice(4, 8), b"EVIL")),
    "a file cut short": TFLITE[: len(TFLITE) // 2],
    "no model but a pickle": pickle.dumps({"a": 1}),
    "nothing": b"",
}


def split(no: int, count: int = 3, tensors: int = 2) -> list[bytes]:
    return [
        pair("split.no", 2, struct.pack("<H", no)),
        pair("split.count", 2, struct.pack("<H", count)),
        pair("split.tensors.count", 5, struct.pack("<i", tensors)),
    ]


def parts(**other: bytes) -> list[bytes]:
    """The parts of a model that is in order, or others in place of some of them."""
    made = {
        "a": gguf([*small_pairs(), *split(0)]),
        "b": gguf(split(1), [WEIGHT]),
        "c": gguf(split(2), [replace(WEIGHT, name="output.weight")]),
    }
    return list((made | other).values())


PARTS = {
    "one tensor in two of them": parts(c=gguf(split(2), [WEIGHT])),
    "a part of a model of other size": parts(b=gguf(split(1, count=65_535), [WEIGHT])),
    "more tensors than the first says": parts(
        c=gguf(split(2), [replace(WEIGHT, name=f"blk.{each}.weight") for each in range(9)])
    ),
    "two billion tensors": parts(a=gguf([*small_pairs(), *split(0, tensors=2**31 - 1)])),
    "fewer than none": parts(a=gguf([*small_pairs(), *split(0, tensors=-1)])),
    "a part that brings settings of its own": parts(
        b=gguf([*split(1), number("llama.block_count", 2**31)], [WEIGHT])
    ),
    "the first part once more": parts(b=parts()[0]),
    "weights beyond the end of a part": parts(c=parts()[2][:-8]),
    "no part but a pickle": parts(b=pickle.dumps({"a": 1})),
}


def offer(board: Board, engine: str, model: bytes | list[bytes]) -> None:
    files = {"model.bin": model} if isinstance(model, bytes) else _named(model)
    package = {
        "name": "one",
        "release": 2,
        "summary": "A model that means harm",
        "licence": "MIT",
        "task": "text.generate" if engine == "llama" else "tensor.run",
        "engine": {"name": engine},
        "input": {"type": "text"},
    }
    board.repository.publish("one", 2, files, package=package)


def _named(model: list[bytes]) -> dict[str, bytes]:
    names = (part_name("m", each, len(model)) for each in range(1, len(model) + 1))
    return dict(zip(names, model, strict=True))


@pytest.mark.parametrize("what", [*GGUF])
def test_attack_by_a_gguf_model_is_refused_and_quarantined(board: Board, what: str) -> None:
    offer(board, "llama", GGUF[what])
    assert board.fault() is Fault.WRONG_RELEASE
    assert board.row_state() is State.QUARANTINED
    assert board.releases.installed("one") == [1]
    assert board.still_serves_the_old_one()


@pytest.mark.parametrize("what", [*PARTS])
def test_attack_by_a_model_whose_parts_lie_is_refused_and_quarantined(
    board: Board, what: str
) -> None:
    offer(board, "llama", PARTS[what])
    assert board.fault() is Fault.WRONG_RELEASE
    assert board.row_state() is State.QUARANTINED
    assert board.releases.installed("one") == [1]
    assert board.still_serves_the_old_one()


def test_parts_that_do_not_lie_are_staged(board: Board) -> None:
    offer(board, "llama", parts())
    assert board.fault() is None
    assert board.releases.installed("one") == [1, 2]


@pytest.mark.parametrize("what", [*LITERT])
def test_attack_by_a_tflite_model_is_refused_and_quarantined(board: Board, what: str) -> None:
    offer(board, "litert", LITERT[what])
    assert board.fault() is Fault.WRONG_RELEASE
    assert board.row_state() is State.QUARANTINED
    assert board.still_serves_the_old_one()


def test_what_was_quarantined_is_not_fetched_again(board: Board) -> None:
    offer(board, "llama", b"GGUF and nothing more")
    board.one()
    asked = len(board.mirror.asked)
    assert board.one().result == "waiting"
    assert not any(path.startswith("blobs/") for path in board.mirror.paths[asked:])


def test_models_that_are_as_they_should_be_are_staged(board: Board) -> None:
    offer(board, "litert", TFLITE)
    assert board.one().result == "staged"
