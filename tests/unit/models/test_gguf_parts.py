"""A model in parts: one to read, and refused in words where its files are not the parts of one."""

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.parted import parted_manifest
from gguf_writer import U32, Tensor, gguf, number, pair, small_model, small_pairs, string
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.domain.model_parts import PART, part_name
from aiosd.models.check import check_files, check_package
from aiosd.models.gguf import facts_of, read_gguf
from aiosd.models.gguf_parts import read_model
from aiosd.models.need import ram_need
from tools.expert import parts as cutting
from tools.expert.parts import cut

U16, I32 = 2, 5
ONE, TWO = Tensor("one", (8,), bytes(32)), Tensor("two", (8,), b"\1" * 32)


def split(no: int, count: int, tensors: int) -> list[bytes]:
    return [
        pair("split.no", U16, struct.pack("<H", no)),
        pair("split.count", U16, struct.pack("<H", count)),
        pair("split.tensors.count", I32, struct.pack("<i", tensors)),
    ]


FIRST = gguf([*small_pairs(), *split(0, 3, 2)])
PARTS = [FIRST, gguf(split(1, 3, 2), [ONE]), gguf(split(2, 3, 2), [TWO])]


def write(folder: Path, parts: Sequence[bytes]) -> list[Path]:
    paths = [folder / part_name("m", each, len(parts)) for each in range(1, len(parts) + 1)]
    for path, data in zip(paths, parts, strict=True):
        path.write_bytes(data)
    return paths


def package(parts: Sequence[str], engine: str = "llama") -> Manifest:
    files = [
        PackageFile(path=name, size=1, sha256="a" * 64, role=PART if each else "model")
        for each, name in enumerate(parts)
    ]
    return parted_manifest(files, engine)


def check(folder: Path, parts: Sequence[bytes]) -> None:
    paths = write(folder, parts)
    check_package(package([path.name for path in paths]), folder)


def refusal(folder: Path, parts: Sequence[bytes]) -> str:
    with pytest.raises(PackageError) as caught:
        check(folder, parts)
    assert str(caught.value)
    return caught.value.message


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The parts of a small model."""
    monkeypatch.setattr(cutting, "LEAST_PART", 8192)
    model = tmp_path / "m.gguf"
    model.write_bytes(small_model())
    into = tmp_path / "parts"
    into.mkdir()
    return cut(model, into)


def test_the_parts_of_a_model_pass(tmp_path: Path) -> None:
    check(tmp_path, PARTS)


def test_their_facts_are_those_of_the_whole(tmp_path: Path, small: list[Path]) -> None:
    whole, parts = read_gguf(tmp_path / "m.gguf"), read_gguf(small[0])
    assert len(small) > 5
    for key in ("architecture", "layers", "kv_heads", "vocabulary", "quantisation", "matrices"):
        assert getattr(parts, key) == getattr(whole, key)
    assert parts.tensor_count == whole.tensor_count
    assert parts.tensor_bytes == whole.tensor_bytes
    assert parts.file_size == sum(path.stat().st_size for path in small)


def test_they_need_what_the_whole_needs(tmp_path: Path, small: list[Path]) -> None:
    manifest = package([path.name for path in small])
    whole, parts = (
        ram_need(manifest, tmp_path / "m.gguf"),
        ram_need(manifest, small[0]),
    )
    assert parts.private_bytes == whole.private_bytes
    # Less than a block for each file: lists of tensors, and what fills up to the alignment.
    assert abs(parts.weights_bytes - whole.weights_bytes) < 4096
    assert abs(parts.loading_bytes - whole.loading_bytes) < 512 * len(small)


def test_each_tensor_lies_where_it_is_said_to(tmp_path: Path, small: list[Path]) -> None:
    whole, parts = read_model([tmp_path / "m.gguf"]), read_model(small)
    data = (tmp_path / "m.gguf").read_bytes()
    assert whole.tensors.keys() == parts.tensors.keys()
    for name, tensor in parts.tensors.items():
        before = whole.tensors[name]
        own = small[tensor.part].read_bytes()[tensor.at : tensor.at + tensor.size]
        assert own == data[whole.begin + before.at : whole.begin + before.at + before.size]


@pytest.mark.parametrize(
    ("why", "parts"),
    [
        ("should be part 1 of 3", [gguf([*small_pairs(), *split(0, 2, 2)]), *PARTS[1:]]),
        ("should be part 1 of 3", [gguf([*small_pairs(), *split(1, 3, 2)]), *PARTS[1:]]),
        ("are missing, missing, missing", [gguf(small_pairs()), *PARTS[1:]]),
        ("should be part 2 of 3", [FIRST, PARTS[2], PARTS[1]]),
        ("should be part 3 of 3", [FIRST, PARTS[1], PARTS[1]]),
        ("should be part 2 of 3", [FIRST, gguf(split(1, 4, 2), [ONE]), PARTS[2]]),
        ("should be part 2 of 3", [FIRST, gguf(split(1, 3, 3), [ONE]), PARTS[2]]),
        ("2, 3, missing", [FIRST, PARTS[1], gguf(split(2, 3, 2)[:2], [TWO])]),
        ("is in two parts", [FIRST, PARTS[1], gguf(split(2, 3, 2), [ONE])]),
        ("over 2 tensors", [FIRST, gguf(split(1, 3, 2), [ONE, TWO]), PARTS[2]]),
        (
            "hold 2 tensors together and not 3",
            [
                gguf([*small_pairs(), *split(0, 3, 3)]),
                gguf(split(1, 3, 3), [ONE]),
                gguf(split(2, 3, 3), [TWO]),
            ],
        ),
        ("holds no tensors", [FIRST, gguf(split(1, 3, 2)), gguf(split(2, 3, 2), [ONE, TWO])]),
        (
            "'general.name' may stand in the first part",
            [FIRST, gguf([string("general.name", "x"), *split(1, 3, 2)], [ONE]), PARTS[2]],
        ),
        ("not a GGUF file", [FIRST, b"no model at all, but long enough", PARTS[2]]),
        ("cut short", [FIRST, PARTS[1], PARTS[2][:-8]]),
        ("cannot be", [gguf([*small_pairs(), string("split.tensors.count", "2")]), *PARTS[1:]]),
        (
            "alignment 3 is not a power of two",
            [
                FIRST,
                gguf([number("general.alignment", 3), *split(1, 3, 2)], [ONE], align=4),
                PARTS[2],
            ],
        ),
    ],
)
def test_files_that_are_not_the_parts_of_one_model_are_refused_in_words(
    tmp_path: Path, why: str, parts: list[bytes]
) -> None:
    assert why in refusal(tmp_path, parts)


def test_a_lone_part_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf([*small_pairs(), *split(0, 3, 1)], [ONE]))
    with pytest.raises(PackageError, match="part 1 of 3"):
        check_package(package(["m.gguf"]), tmp_path)


def test_one_that_says_it_is_the_only_part_is_whole(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf([*small_pairs(), *split(0, 1, 1)], [ONE]))
    check_package(package(["m.gguf"]), tmp_path)


def test_names_are_looked_at_before_any_file_is(tmp_path: Path) -> None:
    names = [part_name("m", each, 3) for each in (1, 2)]
    with pytest.raises(PackageError, match=r"'m-00003-of-00003\.gguf' of the model is missing"):
        check_package(package(names), tmp_path)
    with pytest.raises(PackageError, match="takes no model in parts"):
        check_package(package(names, engine="litert"), tmp_path)


def test_the_settings_are_checked_as_those_of_a_whole_model(tmp_path: Path) -> None:
    tokens = number("tokenizer.ggml.tokens", 3)
    first = gguf([*small_pairs(), tokens, pair("tokenizer.ggml.scores", U32, b"\0" * 4)])
    bad = gguf([*small_pairs(), pair("tokenizer.ggml.scores", U32, b"\0" * 4), *split(0, 3, 2)])
    assert "wrong type" in refusal(tmp_path, [bad, *PARTS[1:]])
    assert "missing, missing" in refusal(tmp_path, [first, *PARTS[1:]])


def test_blobs_need_not_have_the_parts_names(tmp_path: Path) -> None:
    manifest = package([part_name("m", each, 3) for each in (1, 2, 3)])
    places = {}
    for file, data in zip(manifest.files, PARTS, strict=True):
        places[file.path] = tmp_path / f"blob-{len(places)}"
        places[file.path].write_bytes(data)
    check_files(manifest, lambda file: places[file.path])


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_whatever_a_part_holds_it_is_read_or_refused(
    tmp_path: Path, which: int, seed: int, times: int
) -> None:
    chance = random.Random(seed)
    data = bytearray(PARTS[which])
    for _ in range(times):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + 8] = chance.randbytes(8)
            case 2:
                del data[at:]
                data = data or bytearray(b"G")
            case _:
                data[at:at] = chance.choice(PARTS)[at : at + chance.randrange(40)]
    spoilt = [bytes(data) if each == which else part for each, part in enumerate(PARTS)]
    paths = write(tmp_path, spoilt)
    try:
        header = read_model(paths)
        facts_of(header)
    except PackageError:
        return
    assert len(header.tensors) == header.whole("split.tensors.count")
    for tensor in header.tensors.values():
        assert tensor.at + tensor.size <= len(spoilt[tensor.part])
