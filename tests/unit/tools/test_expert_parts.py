"""A model is cut so that what changed lies in parts of its own, and nothing else moves."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.model_parts import MAX_PARTS
from aiosd.models.check import check_files
from aiosd.models.gguf_header import Tensor as Described
from aiosd.models.gguf_header import read_header
from aiosd.policy.rollout.delta import plan
from aiosd.protocol.release_json import decode_release
from tools.expert import parts as cutting
from tools.expert.__main__ import main
from tools.expert.faults import PublisherError
from tools.expert.pack import Terms, pack
from tools.expert.parts import MOST_LOOKUPS, cut, grouped, may_be_cut
from tools.gguf.layout import Tensor, gguf, number, string
from tools.gguf.random_llama import SMALL, llama_model, settings, tokenizer

NOW = 1_700_000_000.0
HEAD = [*settings(SMALL), *tokenizer(SMALL)]
LARGE = 16_384
SIZES = [LARGE, 64, LARGE, 64, LARGE * 2, 128, LARGE]
TEXT = """name = "mine"
release = {release}
summary = "Random weights"
licence = "CC0-1.0"
task = "text.generate"
[engine]
name = "llama"
[input]
type = "text"
[[files]]
path = "model.gguf"
role = "model"
size = {size}
sha256 = "{digest}"
[prompt]
template = "{{text}}"
[[self_test.cases]]
text = "e"
expect = {{ finish = "stop" }}
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "LEAST_PART", LARGE)


def tensors(change: int = -1) -> list[Tensor]:
    made = []
    for each, size in enumerate(SIZES):
        data = bytes([each + 1 + 100 * (each == change)]) * size
        made.append(Tensor(f"blk.{each}.weight", (size // 4,), data))
    return made


def parts_of(folder: Path, data: bytes) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "model.gguf").write_bytes(data)
    return {path.name: path.read_bytes() for path in cut(folder / "model.gguf", folder)}


def source(folder: Path, release: int, data: bytes) -> Path:
    made = folder / f"source-{release}" / "mine"
    made.mkdir(parents=True)
    (made / "model.gguf").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    text = TEXT.format(release=release, size=len(data), digest=digest)
    (made / "expert.toml").write_text(text, encoding="utf-8")
    return made


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[int]:
    assert before.keys() == after.keys()
    return [each for each, name in enumerate(sorted(before)) if before[name] != after[name]]


def test_the_first_part_has_the_settings_alone_and_small_tensors_share_one(tmp_path: Path) -> None:
    parts_of(tmp_path / "a", gguf(HEAD, tensors()))
    headers = [read_header(path) for path in sorted((tmp_path / "a").glob("*-of-*"))]
    names = [[*header.tensors] for header in headers]
    large = [[f"blk.{each}.weight"] for each in (0, 2, 4, 6)]
    small = [f"blk.{each}.weight" for each in (1, 3, 5)]
    assert names == [[], large[0], small, *large[1:]]
    assert "tokenizer.ggml.tokens" in headers[0].arrays
    assert all(len(header.values) == 3 for header in headers[1:])


def test_the_same_model_gives_the_same_parts(tmp_path: Path) -> None:
    data = gguf(HEAD, tensors())
    assert parts_of(tmp_path / "a", data) == parts_of(tmp_path / "b", data)


def test_another_header_changes_the_first_part_alone(tmp_path: Path) -> None:
    longer = [*HEAD, string("tokenizer.chat_template", "x" * 200)]
    before = parts_of(tmp_path / "a", gguf(HEAD, tensors()))
    assert changed(before, parts_of(tmp_path / "b", gguf(longer, tensors()))) == [0]


@pytest.mark.parametrize("each", range(len(SIZES)))
def test_a_changed_tensor_changes_its_part_alone(tmp_path: Path, each: int) -> None:
    before = parts_of(tmp_path / "a", gguf(HEAD, tensors()))
    after = parts_of(tmp_path / "b", gguf(HEAD, tensors(each)))
    assert changed(before, after) == [{0: 1, 1: 2, 2: 3, 3: 2, 4: 4, 5: 2, 6: 5}[each]]


@pytest.mark.parametrize("align", [32, 4096])
def test_tensors_begin_where_the_model_would_have_them_begin(tmp_path: Path, align: int) -> None:
    head = [*HEAD, number("general.alignment", align)]
    parts_of(tmp_path / "a", gguf(head, tensors(), align=align))
    for path in (tmp_path / "a").glob("*-of-*"):
        header = read_header(path)
        assert header.alignment == align
        assert header.begin % align == 0


@given(st.lists(st.integers(1, 3 * LARGE), min_size=2, max_size=400), st.integers(0, 400))
def test_each_tensor_is_in_one_part_and_a_large_one_alone(sizes: list[int], other: int) -> None:
    def described(sizes: list[int]) -> dict[str, Described]:
        return {str(each): Described("F32", (1,), size, 0) for each, size in enumerate(sizes)}

    groups = grouped(described(sizes))
    assert sorted(name for group in groups for name in group) == sorted(described(sizes))
    assert len(groups) < MAX_PARTS
    assert all(groups)
    firsts = [int(group[0]) for group in groups]
    assert firsts == sorted(firsts)
    if other < len(sizes) <= 60 and sizes[other] >= LARGE:
        # A large one that is larger, or gone to another type, moves no other.
        assert grouped(described([*sizes[:other], LARGE * 9, *sizes[other + 1 :]])) == groups


def test_many_tensors_are_no_more_parts_than_may_be() -> None:
    def groups(count: int) -> int:
        many = {str(each): Described("F32", (1,), LARGE, 0) for each in range(count)}
        return len(grouped(many))

    assert groups(48) == 48
    # One look at each tensor for each part: few parts where there are many tensors.
    assert 8 < groups(272) < MOST_LOOKUPS / 272
    assert 4 < groups(2000) < 8


def test_what_is_no_model_or_says_that_it_is_a_part_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(llama_model())
    assert may_be_cut(path)
    path.write_bytes(gguf(HEAD, tensors()[:1]))
    assert not may_be_cut(path)
    path.write_bytes(gguf([*HEAD, number("split.count", 1)], tensors()))
    assert not may_be_cut(path)
    path.write_bytes(b"anything else")
    assert not may_be_cut(path)


def packed(folder: Path, release: int, data: bytes, terms: Terms) -> Path:
    out = folder / f"packed-{release}"
    pack(source(folder, release, data), out, terms, NOW)
    return out


def test_a_model_is_published_in_parts_which_are_all_its_blobs(tmp_path: Path) -> None:
    out = packed(tmp_path, 1, gguf(HEAD, tensors()), Terms(parts="always"))
    release = decode_release((out / "manifest.json").read_bytes())
    manifest = release.manifest
    assert manifest.model_files[0].path == "model-00001-of-00006.gguf"
    assert len(manifest.model_files) == len(release.blobs) == 6
    for sha256, size in release.blobs.items():
        path = out / "blobs" / "sha256" / sha256[:2] / sha256
        assert path.stat().st_size == size
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    check_files(manifest, lambda f: out / "blobs" / "sha256" / f.sha256[:2] / f.sha256)
    assert sorted(path.name for path in out.iterdir()) == ["blobs", "manifest.json"]


@pytest.mark.parametrize("terms", [Terms(), Terms(parts="never")])
def test_a_small_model_stays_whole_unless_it_is_asked_for(tmp_path: Path, terms: Terms) -> None:
    data = gguf(HEAD, tensors())
    out = packed(tmp_path, 1, data, terms)
    (file,) = decode_release((out / "manifest.json").read_bytes()).files
    assert (file.path, file.sha256) == ("model.gguf", hashlib.sha256(data).hexdigest())


def test_a_large_model_is_cut_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.expert.pack.LEAST_MODEL", 65_536)
    out = packed(tmp_path, 1, gguf(HEAD, tensors()), Terms())
    assert len(decode_release((out / "manifest.json").read_bytes()).files) == 6


def test_a_model_that_was_whole_is_found_again_in_its_parts(tmp_path: Path) -> None:
    data = gguf(HEAD, tensors())
    whole = packed(tmp_path, 1, data, Terms(parts="never"))
    (before,) = decode_release((whole / "manifest.json").read_bytes()).files
    out = packed(tmp_path, 2, data, Terms(parts="always", like=whole))
    assert before.chunks is not None
    fetched = 0
    for file in decode_release((out / "manifest.json").read_bytes()).files:
        fetched += (
            file.size
            if file.chunks is None
            else (plan({before.sha256: before.chunks}, file.chunks).fetch_bytes)
        )
    assert fetched < 6 * 4096


def test_the_command_cuts_if_it_is_told_to(tmp_path: Path) -> None:
    folder = source(tmp_path, 1, gguf(HEAD, tensors()))
    out = tmp_path / "out"
    assert main(["pack", str(folder), "--out", str(out), "--parts", "always"]) == 0
    assert len(decode_release((out / "manifest.json").read_bytes()).files) == 6


def test_a_package_whose_source_is_in_parts_is_packed_as_it_is(tmp_path: Path) -> None:
    folder = source(tmp_path, 1, gguf(HEAD, tensors()))
    parts = cut(folder / "model.gguf", folder)
    (folder / "model.gguf").unlink()
    lines = (folder / "expert.toml").read_text(encoding="utf-8").split("[[files]]")
    tail = lines[1].split('"\n', 3)[-1]
    entries = "".join(
        f'[[files]]\npath = "{path.name}"\nrole = "{"part" if each else "model"}"\n'
        f"size = {path.stat().st_size}\n"
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
        for each, path in enumerate(parts)
    )
    (folder / "expert.toml").write_text(lines[0] + entries + tail, encoding="utf-8")
    pack(folder, tmp_path / "out", Terms(parts="always"), NOW)
    release = decode_release((tmp_path / "out" / "manifest.json").read_bytes())
    assert [file.path for file in release.files] == [path.name for path in parts]
    parts[2].unlink()
    with pytest.raises(PublisherError, match="model file missing"):
        pack(folder, tmp_path / "out2", Terms(), NOW)
