import base64
from collections.abc import Callable

import msgspec
import pytest
from fakes.published import published, tree
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import PackageError
from aiosd.domain.release import MAX_FILES, ChunkIndex
from aiosd.protocol.canonical import encode
from aiosd.protocol.release_json import MAX_BYTES, decode_release, encode_release

Tree = dict[str, object]


def files(spoilt: Tree) -> list[Tree]:
    held = spoilt["files"]
    assert isinstance(held, list)
    return held


def package(spoilt: Tree) -> Tree:
    held = spoilt["package"]
    assert isinstance(held, dict)
    return held


def test_a_release_says_what_its_package_and_its_files_are() -> None:
    release = decode_release(published("one", 3, {"model.bin": b"abc", "labels.txt": b"a\nb"}))
    assert (release.name, release.release, release.size_bytes) == ("one", 3, 6)
    assert [file.path for file in release.manifest.files] == ["model.bin", "labels.txt"]
    assert release.manifest.model is not None
    assert release.manifest.summary == "A package of a test"
    assert release.rollout.percent == 100


SPOILERS: list[tuple[str, Callable[[Tree], object]]] = [
    ("unknown field", lambda t: t.update(more=1)),
    ("unknown field", lambda t: t.update(requires={"gpu": "any"})),
    ("format", lambda t: t.update(format=2)),
    ("release", lambda t: t.update(release=0)),
    ("differ", lambda t: t.update(release=2)),
    ("differ", lambda t: t.update(name="two")),
    ("differ", lambda t: t.update(licence="GPL-2.0-only")),
    ("name", lambda t: t.update(name="../one")),
    ("security_floor", lambda t: t.update(security_floor=2)),
    ("created", lambda t: t.update(created="yesterday")),
    ("month", lambda t: t.update(created="2026-13-01T00:00:00Z")),
    ("percent", lambda t: t.update(rollout={"percent": 101})),
    ("files stand", lambda t: package(t).update(files=files(t))),
    ("unknown field", lambda t: package(t).update(code="import os")),
    ("path", lambda t: files(t)[0].update(path="../../etc/passwd")),
    ("path", lambda t: files(t)[0].update(path="/etc/passwd")),
    ("path", lambda t: files(t)[0].update(path="a/b")),
    ("path", lambda t: files(t)[0].update(path=".hidden")),
    ("path", lambda t: files(t)[0].update(path="mode\u0301l")),
    ("no name", lambda t: files(t)[0].update(path="expert.toml")),
    ("no name", lambda t: files(t)[0].update(path="manifest.json")),
    ("size", lambda t: files(t)[0].update(size=-1)),
    ("size", lambda t: files(t)[0].update(size=2**41)),
    ("sha256", lambda t: files(t)[0].update(sha256="00")),
    ("two sizes", lambda t: files(t).append({**files(t)[0], "path": "other", "size": 1})),
    ("listed twice", lambda t: files(t).append(files(t)[0])),
    ("length", lambda t: t.update(files=files(t) * (MAX_FILES + 1))),
    ("takes no model in parts", lambda t: files(t)[0].update(role="part")),
    ("no first one", lambda t: (files(t)[0].update(role="part"), llama(t))),
    ("is missing", lambda t: (files(t)[0].update(path="m-00001-of-00002.gguf"), llama(t))),
    ("another size", lambda t: files(t)[0].update(chunks=chunks(1024, [5], 1))),
    ("hashes", lambda t: files(t)[0].update(chunks=chunks(1024, [11], 2))),
    ("size", lambda t: files(t)[0].update(chunks=chunks(1, [11], 11))),
    ("spans", lambda t: files(t)[0].update(chunks=chunks(1024, [11, 0], 1))),
]


def llama(tree: Tree) -> None:
    tree["package"] = {**tree["package"], "engine": {"name": "llama"}}  # type: ignore[dict-item]


def chunks(size: int, spans: list[int], count: int) -> Tree:
    hashes = base64.b64encode(bytes(16 * count)).decode()
    return {"size": size, "spans": spans, "hashes": hashes}


@pytest.mark.parametrize(("why", "spoil"), SPOILERS)
def test_what_breaks_a_rule_is_refused_by_name(why: str, spoil: Callable[[Tree], object]) -> None:
    spoilt = tree()
    spoil(spoilt)
    with pytest.raises(PackageError, match=why):
        encode_release(spoilt)


def test_other_forms_of_the_same_json_are_refused() -> None:
    with pytest.raises(PackageError, match="canonical form"):
        decode_release(published() + b"\n")


def test_a_manifest_has_a_limit() -> None:
    with pytest.raises(PackageError, match=f"limit of {MAX_BYTES}"):
        decode_release(b" " * (MAX_BYTES + 1))


@given(st.data())
def test_a_damaged_manifest_is_a_release_or_a_typed_error(data: st.DataObject) -> None:
    good = bytearray(published())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at] = data.draw(st.integers(0, 255))
    try:
        release = decode_release(bytes(good))
    except PackageError:
        return
    assert encode(msgspec.json.decode(bytes(good))) == bytes(good)
    assert release.size_bytes >= 0


@given(st.lists(st.integers(1, 5000), max_size=8), st.sampled_from([1024, 2048]))
def test_chunks_tile_the_file(spans: list[int], size: int) -> None:
    count = sum(-(-span // size) for span in spans)
    index = ChunkIndex(size=size, spans=tuple(spans), hashes=bytes(16 * count))
    at = 0
    for start, length, _ in index.chunks():
        assert start == at
        assert 0 < length <= size
        at += length
    assert at == sum(spans)
