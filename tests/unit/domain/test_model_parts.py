import msgspec
import pytest
from fakes.parted import parted_manifest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.domain.model_parts import (
    MAX_PARTS,
    PART,
    part_name,
    part_names,
    parts_fault,
)

NAMES = tuple(part_name("m", number, 3) for number in (1, 2, 3))


def file(path: str, role: str, sha256: str = "a" * 64) -> PackageFile:
    return PackageFile(path=path, size=1, sha256=sha256, role=role)


def manifest(*files: PackageFile, engine: str = "llama") -> Manifest:
    return parted_manifest(files, engine)


def test_the_first_of_several_names_them_all() -> None:
    assert part_names("m-00001-of-00003.gguf") == NAMES
    assert NAMES[1] == "m-00002-of-00003.gguf"


@pytest.mark.parametrize(
    "name",
    [
        "model.gguf",
        "m-00002-of-00003.gguf",
        "m-00001-of-00001.gguf",
        "m-00001-of-00000.gguf",
        f"m-00001-of-{MAX_PARTS + 1:05d}.gguf",
        "m-00001-of-00003.tflite",
        "-00001-of-00003.gguf",
    ],
)
def test_any_other_name_is_that_of_a_whole_model(name: str) -> None:
    assert part_names(name) == (name,)


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True), st.data())
def test_what_a_part_is_called_is_found_again(stem: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, MAX_PARTS))
    names = part_names(part_name(stem, 1, count))
    assert names == tuple(part_name(stem, number, count) for number in range(1, count + 1))


def test_the_right_files_have_no_fault() -> None:
    assert parts_fault("model.gguf", []) == ""
    assert parts_fault("", []) == ""
    assert parts_fault(NAMES[0], [NAMES[2], NAMES[1]]) == ""


@pytest.mark.parametrize(
    ("first", "others", "why"),
    [
        ("", [NAMES[1]], "no first one"),
        ("model.gguf", [NAMES[1]], "no first of at most"),
        (NAMES[1], [NAMES[0], NAMES[2]], "no first of at most"),
        (NAMES[0], [], "'m-00002-of-00003.gguf' of the model is missing"),
        (NAMES[0], [NAMES[1]], "'m-00003-of-00003.gguf' of the model is missing"),
        (NAMES[0], [*NAMES[1:], "other.gguf"], "'other.gguf' is no part"),
        (NAMES[0], [*NAMES[1:], part_name("n", 2, 3)], "is no part"),
    ],
)
def test_a_missing_or_a_foreign_part_is_named(first: str, others: list[str], why: str) -> None:
    assert why in parts_fault(first, others)


def test_a_manifest_has_its_model_s_files_in_order_however_they_are_listed() -> None:
    parts = [file(NAMES[2], PART), file("labels.txt", ""), file(NAMES[0], "model")]
    found = manifest(*parts, file(NAMES[1], PART))
    assert [each.path for each in found.model_files] == list(NAMES)
    assert found.model == found.model_files[0]
    assert found.parts_fault == ""
    assert list(found.engine_files) == ["model"]


def test_a_whole_model_is_one_file_and_known_by_its_digest() -> None:
    found = manifest(file("model.gguf", "model"), file("a.gguf", "adapter"))
    assert found.model_files == (found.model,)
    assert found.model_digest == "a" * 64
    assert set(found.engine_files) == {"model", "adapter"}
    assert manifest().model_files == ()
    assert manifest().model_digest == ""


def test_another_part_makes_another_model_though_the_first_is_the_same() -> None:
    parts = [file(NAMES[0], "model"), file(NAMES[1], PART), file(NAMES[2], PART)]
    changed = [*parts[:2], file(NAMES[2], PART, "b" * 64)]
    assert manifest(*parts).model_digest != manifest(*changed).model_digest
    turned = [parts[2], parts[0], parts[1]]
    assert manifest(*parts).model_digest == manifest(*turned).model_digest


def test_only_an_engine_that_can_takes_a_model_in_parts() -> None:
    parts = [file(NAMES[0], "model"), file(NAMES[1], PART), file(NAMES[2], PART)]
    assert "takes no model in parts" in manifest(*parts, engine="litert").parts_fault
    assert manifest(parts[0], engine="litert").parts_fault == ""
    assert "missing" in manifest(parts[0]).parts_fault
    assert msgspec.json.decode(msgspec.json.encode(manifest(*parts)), type=Manifest).model_files
