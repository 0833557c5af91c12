"""The file of energy knowledge: whole or not at all, and of no use elsewhere."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.energy_record import EnergyRecord
from aiosd.store.energy_file import ForeignRecordError, read_energy, write_energy

RECORD = EnergyRecord(
    board="rk3566",
    meter="default-model",
    since=1.0,
    meter_joules=10.0,
    idle_joules=8.0,
    other_joules=2.0,
    gap_seconds=0.0,
    idle={},
    fits={},
    experts={},
    clients={},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_energy(tmp_path / "energy.json", RECORD)
    assert read_energy(tmp_path / "energy.json", "rk3566", "default-model") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["energy.json"]


def test_nothing_there_is_nothing_known(tmp_path: Path) -> None:
    assert read_energy(tmp_path / "energy.json", "rk3566", "default-model") is None


@pytest.mark.parametrize(
    ("board", "meter"), [("rk3588", "default-model"), ("rk3566", "calibrated-model")]
)
def test_another_board_or_meter_has_no_use_for_it(tmp_path: Path, board: str, meter: str) -> None:
    write_energy(tmp_path / "energy.json", RECORD)
    with pytest.raises(ForeignRecordError, match="'rk3566' with 'default-model', this is"):
        read_energy(tmp_path / "energy.json", board, meter)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "\x00" * 40,
        msgspec.json.encode(RECORD).decode()[:-9],
        msgspec.json.encode(RECORD).decode().replace('"version":1', '"version":2'),
        msgspec.json.encode(RECORD).decode().replace('"since"', '"sins"'),
        msgspec.json.encode(RECORD).decode().replace('"gap_seconds":0.0', '"gap_seconds":-1'),
        msgspec.json.encode(RECORD).decode().replace('"clients":{}', '"clients":{"a":"b"}'),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "energy.json").write_text(text)
    with pytest.raises(ForeignRecordError, match=r"energy\.json"):
        read_energy(tmp_path / "energy.json", "rk3566", "default-model")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignRecordError, match="Is a directory"):
        read_energy(tmp_path, "rk3566", "default-model")


@given(data=st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_record_by_chance(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("state") / "energy.json"
    path.write_bytes(data)
    with pytest.raises(ForeignRecordError):
        read_energy(path, "rk3566", "default-model")
