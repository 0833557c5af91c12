import struct
import tracemalloc
from pathlib import Path

import pytest
from gguf_writer import (
    ARRAY,
    F32,
    STRING,
    U32,
    Tensor,
    gguf,
    number,
    numbers,
    pair,
    small_model,
    small_pairs,
    string,
    strings,
    text,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import Port, doubler, gatherer, requantizer

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import PackageFile
from aiosd.models.check import check_file
from aiosd.models.gguf_header import MAX_WALKED
from tools.gguf.random_llama import lora_adapter

MODEL = small_model()
ADAPTER = lora_adapter()
WEIGHT = Tensor("token_embd.weight", (8,), bytes(32))
TFLITE = {
    "doubler": doubler((1, 3)),
    "gatherer": gatherer([1.0, 2.0]),
    "requantizer": requantizer(Port((1, 4), 9, 0.5, 0), Port((1, 4), 3, 0.25, 128)),
}


def check(folder: Path, data: bytes, engine: str, role: str = "model") -> None:
    path = folder / "file"
    path.write_bytes(data)
    check_file(PackageFile(path="file", size=0, sha256="0" * 64, role=role), path, engine)


def refusal(folder: Path, data: bytes, engine: str, role: str = "model") -> str:
    with pytest.raises(PackageError) as caught:
        check(folder, data, engine, role)
    return caught.value.message


def model(*more: bytes) -> bytes:
    return gguf([*small_pairs(), *more], [WEIGHT])


def test_whole_models_pass(tmp_path: Path) -> None:
    check(tmp_path, MODEL, "llama")
    check(tmp_path, ADAPTER, "llama", "adapter")
    for data in TFLITE.values():
        check(tmp_path, data, "litert")
        check(tmp_path, data, "tflite")


def test_a_model_of_another_engine_is_not_what_it_loads(tmp_path: Path) -> None:
    assert "not a GGUF file" in refusal(tmp_path, TFLITE["doubler"], "llama")
    assert "not a TFLite file" in refusal(tmp_path, MODEL, "litert")


def test_what_no_engine_loads_passes(tmp_path: Path) -> None:
    check(tmp_path, b"ham\nspam\n", "llama", "")
    check(tmp_path, b"anything", "echo")


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("vocabulary and not a model", gguf(small_pairs())),
        ("no list of texts", model(numbers("tokenizer.ggml.tokens", U32, "I", [1, 2]))),
        ("no list of texts", model(numbers("tokenizer.ggml.merges", U32, "I", [1, 2]))),
        ("wrong type", model(numbers("tokenizer.ggml.scores", U32, "I", [1, 2]))),
        ("wrong type", model(string("tokenizer.ggml.scores", "1 2"))),
        ("wrong type", model(numbers("tokenizer.ggml.token_type", F32, "f", [1.0]))),
        ("not as many tokens", model(numbers("tokenizer.ggml.token_type", 5, "i", [1]))),
        (
            "not as many tokens",
            model(
                strings("tokenizer.ggml.tokens", [b"a", b"b"]),
                numbers("tokenizer.ggml.scores", F32, "f", [1.0]),
            ),
        ),
        ("power of two", model(number("general.alignment", 2**31))),
        ("power of two", model(number("general.alignment", 2**21))),
    ],
)
def test_what_llama_cpp_would_misread_is_refused(tmp_path: Path, why: str, data: bytes) -> None:
    assert why in refusal(tmp_path, data, "llama")


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("LoRA adapter", MODEL),
        ("no other half", ADAPTER.replace(b"attn_q.weight.lora_b", b"attn_q.weight.lora_c")),
        (
            "no other half",
            ADAPTER.replace(b"blk.0.attn_q.weight.lora_b", b"blk.9.attn_q.weight.lora_b"),
        ),
    ],
)
def test_half_an_adapter_is_refused(tmp_path: Path, why: str, data: bytes) -> None:
    assert why in refusal(tmp_path, data, "llama", "adapter")


def test_halves_of_different_ranks_are_refused(tmp_path: Path) -> None:
    head = [string("general.type", "adapter"), string("adapter.type", "lora")]
    halves = [Tensor("w.lora_a", (4, 2), bytes(32)), Tensor("w.lora_b", (4, 2), bytes(32))]
    assert "different ranks" in refusal(tmp_path, gguf(head, halves), "llama", "adapter")


def test_scales_that_are_not_one_for_each_slice_are_refused(tmp_path: Path) -> None:
    data = bytearray(TFLITE["requantizer"])
    scale = struct.pack("<f", 0.25)
    at = data.index(scale)
    assert struct.unpack_from("<I", data, at - 4) == (1,)
    struct.pack_into("<I", data, at - 4, 2)
    assert "scales" in refusal(tmp_path, bytes(data), "litert")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    data = bytearray(TFLITE["doubler"])
    root = struct.unpack_from("<I", data, 0)[0]
    vtable = root - struct.unpack_from("<i", data, root)[0]
    version = root + struct.unpack_from("<H", data, vtable + 4)[0]
    struct.pack_into("<I", data, version, 4)
    assert "version is 4" in refusal(tmp_path, bytes(data), "litert")


def test_empty_texts_without_end_are_not_walked(tmp_path: Path) -> None:
    many = MAX_WALKED // 8
    arrays = [
        pair(f"a{i}", ARRAY, struct.pack("<IQ", STRING, many) + bytes(8 * many)) for i in range(9)
    ]
    assert "texts in arrays" in refusal(tmp_path, model(*arrays), "llama")


def test_a_length_beyond_the_file_costs_no_walk(tmp_path: Path) -> None:
    array = pair("a", ARRAY, struct.pack("<IQ", STRING, 2**63))
    assert "over the" in refusal(tmp_path, model(array), "llama")


def test_long_texts_and_many_numbers_are_not_held(tmp_path: Path) -> None:
    blank = b" " * 1_000_000
    pairs = [pair(f"t{i}", STRING, text(blank)) for i in range(40)]
    tracemalloc.start()
    try:
        check(tmp_path, model(*pairs), "llama")
        tracemalloc.reset_peak()
        check_file(
            PackageFile(path="file", size=0, sha256="0" * 64, role="model"),
            tmp_path / "file",
            "llama",
        )
        assert tracemalloc.get_traced_memory()[1] < 60_000_000  # the test's own 40 MB are in it
    finally:
        tracemalloc.stop()
    arrays = [numbers(f"n{i}", U32, "I", [i] * 1024) for i in range(500)]
    assert "hold more" in refusal(tmp_path, model(*arrays), "llama")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_spoilt_model_passes_or_is_refused_but_never_crashes(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole, engine, role = data.draw(
        st.sampled_from(
            [
                (MODEL[:12_000] + bytes(len(MODEL) - 12_000), "llama", "model"),
                (ADAPTER, "llama", "adapter"),
                *((each, "litert", "model") for each in TFLITE.values()),
            ]
        )
    )
    spoilt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(spoilt), 12_000) - 9))
        wild = st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
        if data.draw(st.booleans()):
            struct.pack_into("<Q", spoilt, at, data.draw(wild))
        else:
            spoilt[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(spoilt)))
    try:
        check(tmp_path, bytes(spoilt[:cut]), engine, role)
    except PackageError:
        return


@pytest.mark.assets
@pytest.mark.parametrize(
    "name", ["bad_magic.gguf", "git_lfs_pointer.gguf", "truncated.gguf", "truncated.tflite"]
)
def test_the_known_bad_files_are_refused(assets: Path, name: str) -> None:
    file = PackageFile(path="file", size=0, sha256="0" * 64, role="model")
    engine = "llama" if name.endswith("gguf") else "litert"
    with pytest.raises(PackageError):
        check_file(file, assets / "negative" / name, engine)


@pytest.mark.assets
def test_real_models_pass(assets: Path) -> None:
    file = PackageFile(path="file", size=0, sha256="0" * 64, role="model")
    for path in (assets / "gguf").glob("*.gguf"):
        check_file(file, path, "llama")
    for path in (assets / "tflite").rglob("*.tflite"):
        check_file(file, path, "litert")
