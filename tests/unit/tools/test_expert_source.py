"""A package in source: made, looked at, mended and packed."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from gguf_writer import Tensor, gguf, small_pairs
from tiny_models import doubler

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import plan
from aiosd.protocol import release_json
from aiosd.protocol.release_json import decode_release
from aiosd.store.packages import read_manifest
from tools.expert import lint, template
from tools.expert import pack as packing
from tools.expert.__main__ import main
from tools.expert.faults import PublisherError
from tools.expert.pack import Terms, pack

NOW = 1_700_000_000.0


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    template.make(folder, "echo", model=None, licence="MIT")
    return folder


def errors(folder: Path) -> list[str]:
    return [str(each) for each in lint.check(folder) if each.level == "error"]


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "expert.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "name", "data"),
    [
        ("text.generate", "model.gguf", gguf(small_pairs(), [Tensor("w", (8,), bytes(32))])),
        ("text.classify", "model.tflite", doubler((1, 3))),
        ("series.anomaly", "model.tflite", doubler((1, 3))),
    ],
)
def test_a_new_package_of_each_kind_is_whole_from_the_start(
    tmp_path: Path, task: str, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    folder = tmp_path / "mine"
    template.make(folder, task, model=tmp_path / name, licence="MIT")
    assert errors(folder) == []
    assert read_manifest(folder).model is not None


def test_what_is_left_of_the_template_is_a_warning_until_it_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(doubler((1, 3)))
    folder = tmp_path / "mine"
    template.make(folder, "text.classify", model=tmp_path / "m.tflite", licence="MIT")
    left = [each.where for each in lint.check(folder) if "template" in each.what]
    assert left == ["summary", "self_test.cases[0].expect"]
    edit(folder, template.SUMMARY, "Says what a text is about.")
    edit(folder, f'label = "{template.LABEL}"', 'label = "greeting"')
    assert not [each for each in lint.check(folder) if "template" in each.what]


@pytest.mark.parametrize("task", ["image.classify", "audio.classify"])
def test_a_new_package_asks_for_its_example_file(tmp_path: Path, task: str) -> None:
    (tmp_path / "model.tflite").write_bytes(doubler((1, 3)))
    template.make(tmp_path / "mine", task, model=tmp_path / "model.tflite", licence="MIT")
    (found,) = errors(tmp_path / "mine")
    assert "is not among the files" in found


@pytest.mark.parametrize(
    ("task", "model", "why"),
    [
        ("poetry", None, "no task"),
        ("text.classify", None, "--model"),
        ("echo", "m.onnx", "no engine"),
    ],
)
def test_what_cannot_become_a_package_is_said(
    tmp_path: Path, task: str, model: str | None, why: str
) -> None:
    place = tmp_path / model if model else None
    with pytest.raises(PublisherError, match=why):
        template.make(tmp_path / "mine", task, model=place, licence="MIT")
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_exists_is_not_written_over(hello: Path) -> None:
    with pytest.raises(PublisherError, match="exists"):
        template.make(hello, "echo", model=None, licence="MIT")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('licence = "MIT"', 'licence = "Apache 2"', "no SPDX expression"),
        ('summary = "One', 'sumary = "One', "unknown field `sumary`"),
        ('name = "hello"', 'name = "goodbye"', "the folder is 'hello'"),
        ("pass_mark = 1.0", "pass_mark = 0.0", "any answer pass"),
        ('expect = { text = "hello there" }', "expect = {}", "always passes"),
        ('text = "hello there"\n', "", "exactly one of"),
        ('task = "echo"', 'task = "ehco"', "expert.toml:7"),
    ],
)
def test_each_error_says_where_and_what(hello: Path, old: str, new: str, why: str) -> None:
    edit(hello, old, new)
    (found,) = errors(hello)
    assert why in found


def test_a_release_without_self_tests_is_an_error(hello: Path) -> None:
    path = hello / "expert.toml"
    path.write_text(path.read_text().partition("[[self_test")[0], encoding="utf-8")
    assert any("no cases" in each for each in errors(hello))


def test_a_file_that_changed_is_found_and_mended(hello: Path) -> None:
    edit(hello, "\n\n[needs]", '\n[[files]]\npath = "words.txt"\nsize = 0\nsha256 = ""\n\n[needs]')
    (hello / "words.txt").write_text("a\n", encoding="utf-8")
    edit(hello, 'sha256 = ""', f'sha256 = "{"0" * 64}"')
    assert "2 bytes, but the manifest says 0" in errors(hello)[0]
    assert len(lint.fix(hello)) == 2
    assert errors(hello) == []
    assert lint.fix(hello) == []
    (hello / "words.txt").write_text("b\n", encoding="utf-8")
    assert hashlib.sha256(b"b\n").hexdigest() in errors(hello)[0]


def test_a_model_that_boards_refuse_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(gguf(small_pairs()))
    template.make(tmp_path / "mine", "text.generate", model=tmp_path / "model.gguf", licence="MIT")
    assert "vocabulary and not a model" in errors(tmp_path / "mine")[0]


def test_a_forgotten_file_is_a_warning(hello: Path) -> None:
    (hello / "notes.txt").write_text("x", encoding="utf-8")
    found = [each for each in lint.check(hello) if each.where == "notes.txt"]
    assert [each.level for each in found] == ["warning"]


def test_every_bundled_expert_passes_the_check(repo: Path) -> None:
    for path in sorted((repo / "experts").glob("*/expert.toml")):
        assert errors(path.parent) == [], path


def test_a_packed_release_holds_what_the_source_says(repo: Path, tmp_path: Path) -> None:
    source = repo / "experts" / "sms-spam"
    pack(source, tmp_path, Terms(percent=25, arch=("aarch64",)), NOW)
    data = (tmp_path / "manifest.json").read_bytes()
    release = decode_release(data)
    kept = read_manifest(source)
    assert release.manifest.self_test == kept.self_test
    assert release.manifest.post == kept.post
    assert release.created == "2023-11-14T22:13:20Z"
    assert (release.rollout.percent, release.requires.arch) == (25, ["aarch64"])
    assert release.requires.ram_peak_bytes == kept.needs.ram_bytes
    assert {file.path: file.sha256 for file in release.files} == {
        file.path: file.sha256 for file in kept.files
    }
    pack(source, tmp_path / "again", Terms(percent=25, arch=("aarch64",)), NOW)
    assert (tmp_path / "again" / "manifest.json").read_bytes() == data


def test_an_index_grows_coarser_until_the_manifest_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = [Tensor(f"t{number}", (1280,), bytes(5120)) for number in range(64)]
    (tmp_path / "model.gguf").write_bytes(gguf(small_pairs(), tensors))
    folder = tmp_path / "mine"
    template.make(folder, "text.generate", model=tmp_path / "model.gguf", licence="MIT")
    whole = pack(folder, tmp_path / "whole", Terms(), NOW)["manifest_bytes"]
    assert isinstance(whole, int)
    for limit in (whole - 1, whole // 2):
        out = tmp_path / str(limit)
        monkeypatch.setattr(release_json, "MAX_BYTES", limit)
        monkeypatch.setattr(packing, "MAX_BYTES", limit)
        pack(folder, out, Terms(), NOW)
        data = (out / "manifest.json").read_bytes()
        assert len(data) <= limit
        index = decode_release(data).files[0].chunks
        assert index is not None
        assert plan({"same": index}, index).fetch_bytes == 0
    monkeypatch.setattr(release_json, "MAX_BYTES", 400)
    monkeypatch.setattr(packing, "MAX_BYTES", 400)
    with pytest.raises(PublisherError, match="limit of 400"):
        pack(folder, tmp_path / "out", Terms(), NOW)


def test_a_later_release_is_cut_as_the_one_before_though_it_grew(tmp_path: Path) -> None:
    def packed(release: int, count: int, like: Path | None) -> ChunkIndex:
        data = bytes(range(251)) * 200
        tensors = [Tensor(f"t{n}", (12_550,), bytes([n]) + data[1:]) for n in range(count)]
        model = tmp_path / f"{release}" / "model.gguf"
        model.parent.mkdir()
        model.write_bytes(gguf(small_pairs(), tensors))
        folder = tmp_path / f"source-{release}" / "mine"
        template.make(folder, "text.generate", model=model, licence="MIT")
        out = tmp_path / f"packed-{release}"
        pack(folder, out, Terms(like=like), NOW)
        index = decode_release((out / "manifest.json").read_bytes()).files[0].chunks
        assert index is not None
        return index

    old = packed(1, 83, None)
    alone = packed(2, 85, None)
    alike = packed(3, 85, tmp_path / "packed-1")
    assert (old.size, alone.size, alike.size) == (4096, 8192, 4096)
    fetched = plan({"old": old}, alike).fetch_bytes
    assert fetched < 0.05 * sum(alike.spans) < plan({"old": old}, alone).fetch_bytes


def test_nothing_is_packed_while_there_are_errors(
    hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(hello, "pass_mark = 1.0", "pass_mark = 0.0")
    assert main(["pack", str(hello), "--out", str(tmp_path / "out")]) == 1
    assert "nothing was packed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_findings_can_be_read_by_programs(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(hello), "--json"]) == 0
    assert {each["level"] for each in json.loads(capsys.readouterr().out)} == {"warning"}
    shutil.rmtree(hello)
    assert main(["check", str(hello)]) == 1
    assert "No such file" in capsys.readouterr().out
