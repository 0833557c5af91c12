from pathlib import Path

import pytest
from fakes.board import NVPMODEL_CONF, FakeBoard

from aiosd.domain.power import PowerMode
from aiosd.sensors.mode import read_mode

NAMES = ("15W", "25W", "MAXN_SUPER", "7W")


def test_the_mode_is_told_by_name(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write(
        {
            "etc/nvpmodel.conf": NVPMODEL_CONF,
            "var/lib/nvpmodel/status": "pmode:0003 fmode:fan_mode_quiet\n",
        }
    )
    assert read_mode(tmp_path) == PowerMode("7W", NAMES)


def test_without_a_status_it_is_the_default(tmp_path: Path) -> None:
    FakeBoard(tmp_path).write({"etc/nvpmodel.conf": NVPMODEL_CONF})
    assert read_mode(tmp_path) == PowerMode("MAXN_SUPER", NAMES)


@pytest.mark.parametrize("status", ["pmode:0009", "pmode:"])
def test_a_number_without_a_name_is_no_mode(tmp_path: Path, status: str) -> None:
    conf = NVPMODEL_CONF.replace("< PM_CONFIG DEFAULT=2 >\n", "")
    FakeBoard(tmp_path).write({"etc/nvpmodel.conf": conf, "var/lib/nvpmodel/status": status})
    assert read_mode(tmp_path) is None


def test_a_board_that_is_no_jetson_has_no_mode(tmp_path: Path) -> None:
    assert read_mode(tmp_path) is None
