"""The bench of deltas and the fuzzers, in small."""

import random
from pathlib import Path

import pytest

from tools.bench import delta
from tools.fuzz.__main__ import make_targets


def test_the_bench_of_deltas_puts_every_release_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delta, "ELEMENTS", 2048)  # 48 tensors of 8 KiB
    first, header, tensor, part, same = rows = delta.measure(tmp_path)
    assert first.fetched_bytes == first.model_bytes
    assert header.fetched_bytes < 8192
    assert header.fixed_blocks_bytes > 0.9 * header.model_bytes
    assert tensor.fetched_bytes == 8192
    assert part.fetched_bytes == 4096
    assert (same.fetched_bytes, same.ranges) == (0, 0)
    delta.show(rows)
    assert "1 of 48 tensors changed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["manifest", "gguf", "adapter", "tflite"])
def test_hostile_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = make_targets()[name]
    chance = random.Random(7)
    for _ in range(60):
        assert not target.survives(target.change(chance.choice(target.seeds), chance), tmp_path)
    assert target.inputs == 60
    assert target.refused
