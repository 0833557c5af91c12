"""The file that keeps energy knowledge over a restart; safe to delete."""

from pathlib import Path

import msgspec

from aiosd.domain.energy_record import EnergyRecord
from aiosd.store.durable import replace_file

# Some 300 bytes an expert and 30 a client.
_MOST_BYTES = 1_000_000


class ForeignRecordError(Exception):
    """The file is damaged, of another release, or of another board or meter."""


def read_energy(path: Path, board: str, meter: str) -> EnergyRecord | None:
    """Return what was kept for this board and meter; None if nothing was.

    Raises:
        ForeignRecordError: there is a file, and it is of no use here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ForeignRecordError(f"{path}: {error.strerror}") from error
    try:
        record = msgspec.json.decode(data, type=EnergyRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ForeignRecordError(f"{path}: {error}") from error
    if (record.board, record.meter) != (board, meter):
        raise ForeignRecordError(
            f"{path}: is of the board {record.board!r} with {record.meter!r}, this is {board!r} "
            f"with {meter!r}"
        )
    return record


def write_energy(path: Path, record: EnergyRecord) -> None:
    """Keep it, wholly or not at all.

    Raises:
        OSError: the disk says no; the older file is still there then.
    """
    replace_file(path, msgspec.json.encode(record))
