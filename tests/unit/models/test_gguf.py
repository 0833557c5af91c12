import struct
from pathlib import Path

import pytest
from fakes.effort import least_cpu
from gguf_writer import (
    ARRAY,
    F32_TENSOR,
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
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.models.gguf import GgufFacts, read_gguf

MODEL = small_model()
HEADER = MODEL[:12_000]


def read(folder: Path, data: bytes) -> GgufFacts:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return read_gguf(path)


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(PackageError) as caught:
        read(folder, data)
    assert caught.value.path.endswith("model.gguf")
    return caught.value.message


def test_the_facts_of_a_small_model_are_read(tmp_path: Path) -> None:
    facts = read(tmp_path, MODEL)
    assert (facts.architecture, facts.name, facts.tokenizer) == ("llama", "small", "llama")
    assert (facts.context_train, facts.layers, facts.embedding) == (256, 2, 64)
    assert (facts.heads, facts.kv_heads, facts.feed_forward) == (4, (2, 2), 128)
    assert (facts.key_length, facts.value_length, facts.window) == (16, 16, 0)
    assert facts.vocabulary == 313
    assert facts.rope_base == 10000.0
    assert facts.tensor_count == 21
    assert facts.quantisation == (("F32", facts.tensor_bytes),)
    assert facts.file_size == len(MODEL)


def test_kv_heads_may_differ_by_layer(tmp_path: Path) -> None:
    key = "llama.attention.head_count_kv"
    pairs = [one for one in small_pairs() if key.encode() not in one]
    facts = read(tmp_path, gguf([*pairs, numbers(key, U32, "I", [0, 4])]))
    assert facts.kv_heads == (0, 4)


def test_a_git_lfs_pointer_is_named_with_the_remedy(tmp_path: Path) -> None:
    data = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    assert "git lfs pull" in refusal(tmp_path, data)


def test_a_web_page_is_not_a_model(tmp_path: Path) -> None:
    assert "web page" in refusal(tmp_path, b"<!DOCTYPE html><html></html>" * 4)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "not a GGUF file" in refusal(tmp_path, b"")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="cannot be read"):
        read_gguf(tmp_path / "none.gguf")


def test_a_wrong_magic_is_shown(tmp_path: Path) -> None:
    assert "XGUF" in refusal(tmp_path, b"X" + MODEL[1:])


def test_a_file_cut_in_its_weights_names_both_sizes(tmp_path: Path) -> None:
    message = refusal(tmp_path, MODEL[:-1])
    assert str(len(MODEL) - 1) in message
    assert str(len(MODEL)) in message
    assert "download it again" in message


@pytest.mark.parametrize("length", [5, 23, 24, 40, 200, 5_000])
def test_a_file_cut_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    assert "cut short" in refusal(tmp_path, MODEL[:length])


def test_a_big_endian_file_is_named(tmp_path: Path) -> None:
    assert "big-endian" in refusal(tmp_path, b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def test_an_old_version_is_refused(tmp_path: Path) -> None:
    assert "version 1" in refusal(tmp_path, gguf([], version=1))


@pytest.mark.parametrize("counts", [(2**63, 1), (1, 2**63), (70_000, 0), (0, 70_000)])
def test_absurd_counts_are_refused_before_reading_on(
    tmp_path: Path, counts: tuple[int, int]
) -> None:
    assert "cannot be" in refusal(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, *counts))


@pytest.mark.parametrize("count", [2**64 - 1, 2**32, 1_000_000])
@pytest.mark.parametrize("kind", [U32, 8])
def test_an_array_longer_than_the_file_is_refused(tmp_path: Path, kind: int, count: int) -> None:
    data = gguf([pair("a", ARRAY, struct.pack("<IQ", kind, count))])
    assert refusal(tmp_path, data)


def test_a_text_whose_length_overflows_is_refused(tmp_path: Path) -> None:
    long_text = struct.pack("<IQQ", 8, 2, 2**64 - 8) + b"x" * 32
    assert "cut short" in refusal(tmp_path, gguf([pair("a", ARRAY, long_text)]))


def test_nested_arrays_are_refused(tmp_path: Path) -> None:
    assert "unknown type" in refusal(
        tmp_path, gguf([pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1))])
    )


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    assert "twice" in refusal(tmp_path, gguf([number("a", 1), number("a", 2)]))


def test_a_tensor_out_of_its_place_is_refused(tmp_path: Path) -> None:
    good = gguf(small_pairs(), [Tensor("w", (8,), bytes(32)), Tensor("v", (8,), bytes(32))])
    at = good.index(b"v" + struct.pack("<I", 1)) + 1 + 4 + 8 + 4
    bad = good[:at] + struct.pack("<Q", 2**40) + good[at + 8 :]
    assert "begins at" in refusal(tmp_path, bad)


@pytest.mark.parametrize("shape", [(2**32, 2**32), (0,), (2**63,)])
def test_an_impossible_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = gguf(small_pairs(), [Tensor("w", shape, bytes(32))])
    assert "cannot have the shape" in refusal(tmp_path, data)


def test_a_row_that_does_not_fill_its_blocks_is_refused(tmp_path: Path) -> None:
    assert "Q8_0" in refusal(tmp_path, gguf(small_pairs(), [Tensor("w", (33, 1), bytes(64), 8)]))


def test_a_matrix_that_would_abort_llama_cpp_is_refused(tmp_path: Path) -> None:
    data = gguf(small_pairs(), [Tensor("w", (4, 2), bytes(64), 28)])
    assert "F64" in refusal(tmp_path, data)


def test_a_file_without_an_architecture_is_no_model(tmp_path: Path) -> None:
    assert "general.architecture" in refusal(tmp_path, gguf([string("general.name", "x")]))


@pytest.mark.parametrize("value", [0, 3, 48])
def test_an_alignment_that_is_no_power_of_two_is_refused(tmp_path: Path, value: int) -> None:
    data = gguf([*small_pairs(), number("general.alignment", value)])
    assert "power of two" in refusal(tmp_path, data)


def test_a_count_given_as_text_is_refused(tmp_path: Path) -> None:
    pairs = [string("general.architecture", "llama"), string("llama.block_count", "two")]
    assert "llama.block_count" in refusal(tmp_path, gguf(pairs))


def test_a_large_vocabulary_is_walked_in_well_under_a_second(tmp_path: Path) -> None:
    words = [b"token%d" % at for at in range(150_000)]
    data = gguf([*small_pairs(), strings("tokenizer.ggml.tokens", words)])
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    assert read_gguf(path).vocabulary == 150_000
    assert least_cpu(lambda: read_gguf(path), 3) < 0.2  # 15 to 25 ms on a desk


@settings(
    max_examples=300,
    deadline=1000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(HEADER) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    cut=st.none() | st.integers(0, len(MODEL)),
)
def test_a_spoilt_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(MODEL)
    for at, value in changes:
        data[at] = value
    try:
        facts = read(tmp_path, bytes(data[:cut]))
    except PackageError:
        return
    assert facts.tensor_bytes <= facts.file_size


@settings(
    max_examples=200, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(4, 3_000), value=st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
def test_a_wild_number_anywhere_in_the_header_is_survived(
    tmp_path: Path, at: int, value: int
) -> None:
    data = MODEL[:at] + struct.pack("<Q", value) + MODEL[at + 8 :]
    try:
        read(tmp_path, data)
    except PackageError:
        return


def test_the_writer_of_these_tests_makes_tensors_the_reader_accepts(tmp_path: Path) -> None:
    facts = read(tmp_path, gguf(small_pairs(), [Tensor("w", (8, 2), bytes(64), F32_TENSOR)]))
    assert facts.quantisation == (("F32", 64),)


@pytest.mark.assets
@pytest.mark.parametrize(("kind", "size"), [("F16", 1313280), ("Q4_0", 371200), ("Q8_0", 698880)])
def test_a_real_model_is_read(assets: Path, kind: str, size: int) -> None:
    facts = read_gguf(assets / "gguf" / f"TinyStories-656K-{kind}.gguf")
    assert (facts.layers, facts.embedding, facts.vocabulary) == (2, 128, 2048)
    assert facts.quantisation[0][0] == kind
    assert facts.tensor_bytes == size


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad_magic", "XGUF"),
        ("git_lfs_pointer", "git lfs pull"),
        ("truncated", "its tensors need 749728"),
    ],
)
def test_the_known_bad_files_are_refused(assets: Path, name: str, words: str) -> None:
    with pytest.raises(PackageError) as caught:
        read_gguf(assets / "negative" / f"{name}.gguf")
    assert words in caught.value.message
