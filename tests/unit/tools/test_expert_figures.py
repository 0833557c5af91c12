"""The bench of deltas and the fuzzers, in small."""

import random
from pathlib import Path

import pytest

from tools.bench import delta
from tools.expert import parts
from tools.expert.pack import Terms
from tools.fuzz.__main__ import make_targets


def test_the_bench_of_deltas_puts_every_release_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delta, "ELEMENTS", 2048)  # 48 tensors of 8 KiB
    first, header, tensor, part, same = rows = delta.measure(tmp_path)
    assert first.cost.blobs == first.model_bytes
    assert header.cost.blobs < 8192
    assert header.fixed_blocks_bytes > 0.9 * header.model_bytes
    assert tensor.cost.blobs == 8192
    assert part.cost.blobs == 4096
    assert same.cost.blobs == 0
    for row in rows:
        assert row.cost.fetched > row.cost.blobs + row.manifest_bytes
    delta.show(rows)
    assert "1 of 48 tensors changed" in capsys.readouterr().out


def test_of_a_model_in_parts_what_is_copied_is_no_more_than_the_part_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "ELEMENTS", 16_384)  # 48 tensors of 64 KiB
    monkeypatch.setattr(parts, "LEAST_PART", 65_536)
    first, header, tensor, part, _ = delta.measure(tmp_path, terms=Terms(parts="always"))
    assert first.cost.requests > 48
    assert header.cost.blobs < 16_384
    assert 65_536 <= tensor.cost.blobs < 66_560
    assert (header.cost.copied, tensor.cost.copied) == (0, 0)
    assert part.cost.blobs == 4096
    assert part.cost.copied + part.cost.shared < 66_560


@pytest.mark.parametrize("name", ["manifest", "gguf", "parts", "adapter", "tflite"])
def test_hostile_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = make_targets()[name]
    chance = random.Random(7)
    for _ in range(60):
        assert not target.survives(target.change(chance.choice(target.seeds), chance), tmp_path)
    assert target.inputs == 60
    assert target.refused
