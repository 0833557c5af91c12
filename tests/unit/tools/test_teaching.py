"""Teaching material: a pair of keys, and opening what was sealed to it."""

import base64
import json
from pathlib import Path

import pytest

from aiosd.uplink.teaching import Teaching

pytest.importorskip("nacl", reason="needs the extra aiosd[uplink]")
teaching = pytest.importorskip("tools.teaching")


def test_what_the_board_sealed_the_distillery_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    assert teaching.main(["new", str(private), str(public)]) == 0
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        teaching.main(["new", str(private), str(tmp_path / "other")])
    sealed = Teaching(tmp_path, 10_000, str(public))
    sealed.keep({"answer": "forty-two"})
    Teaching(tmp_path, 10_000, "").keep({"answer": "plain"})
    material = tmp_path / "teaching.jsonl"
    assert teaching.main(["open", str(private), str(material)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"answer": "forty-two"}, {"answer": "plain"}]
    stranger = tmp_path / "stranger"
    stranger.write_text(base64.b64encode(bytes(range(32))).decode())
    assert teaching.main(["open", str(stranger), str(material)]) == 1
    assert "1 lines are not for this key" in capsys.readouterr().err
