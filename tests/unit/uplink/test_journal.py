"""What is written down never outgrows its bound, and no line is spoilt."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import ConfigError
from aiosd.uplink.journal import Journal
from aiosd.uplink.teaching import Teaching


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@given(sizes=st.lists(st.integers(0, 700), max_size=40))
def test_the_newest_lines_are_there_and_the_bound_is_kept(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder / "log", 1000)
    fitting = []
    for number, size in enumerate(sizes):
        journal.add({"n": number, "x": "x" * size})
        assert size_of(folder) <= 1000
        if len(f'{{"n":{number},"x":""}}\n') + size <= 500:
            fitting.append(number)
    found = [entry["n"] for entry in journal.last(1000)]
    assert found == fitting[len(fitting) - len(found) :]
    assert bool(found) == bool(fitting)
    assert [entry["n"] for entry in journal.last(1)] == fitting[-1:]


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", 10_000)
    journal.add({"n": 1})
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"n": \xff\n[1]\n\n')
    journal.add({"n": 2})
    assert [entry["n"] for entry in journal.last(10)] == [1, 2]


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", 10_000)
    journal.add({"n": 1})
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_it_is_not_led_astray_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(tmp_path / "log", 10_000).add({"n": 1})


def test_lessons_are_plain_lines_or_sealed_to_a_key_that_only_the_distillery_has(
    tmp_path: Path,
) -> None:
    nacl = pytest.importorskip("nacl.public", reason="needs the extra aiosd[uplink]")
    plain = Teaching(tmp_path / "plain", 10_000, "")
    (tmp_path / "plain").mkdir()
    plain.keep({"answer": "forty-two"})
    assert json.loads((tmp_path / "plain" / "teaching.jsonl").read_text()) == {
        "answer": "forty-two"
    }
    private = nacl.PrivateKey.generate()
    key = tmp_path / "key.pub"
    key.write_bytes(base64.b64encode(bytes(private.public_key)) + b"\n")
    (tmp_path / "sealed").mkdir()
    sealed = Teaching(tmp_path / "sealed", 10_000, str(key))
    sealed.keep({"answer": "forty-two"})
    text = (tmp_path / "sealed" / "teaching.jsonl").read_text()
    assert "forty-two" not in text
    box = base64.b64decode(json.loads(text)["sealed"])
    assert json.loads(nacl.SealedBox(private).decrypt(box)) == {"answer": "forty-two"}
    assert sealed.sealed
    assert not plain.sealed


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ=", "\xff"])
def test_what_is_no_key_is_a_wrong_setting(tmp_path: Path, text: str) -> None:
    key = tmp_path / "key.pub"
    key.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="keep_key_file"):
        Teaching(tmp_path, 1000, str(key))
