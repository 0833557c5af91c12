from pathlib import Path

import pytest
from fakes.board import FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.power import ThrottleBits
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.throttle import ThrottleGauge, parse_throttled

ALARM = "sys/class/hwmon/hwmon2"
DESCRIPTORS = Path("/proc/self/fd")
NAMES = ("under_voltage", "frequency_capped", "throttled", "soft_limit")


# Made from the table of bits in raspberrypi/utils, vcgencmd.1.
@pytest.mark.parametrize(
    ("text", "present", "past"),
    [
        ("throttled=0x0", set(), set()),
        ("throttled=0x50000", set(), {"under_voltage", "throttled"}),
        ("throttled=0x50005", {"under_voltage", "throttled"}, {"under_voltage", "throttled"}),
        ("throttled=0x20002", {"frequency_capped"}, {"frequency_capped"}),
        ("throttled=0x80008\n", {"soft_limit"}, {"soft_limit"}),
        ("throttled=0xe0008", {"soft_limit"}, {"frequency_capped", "throttled", "soft_limit"}),
    ],
)
def test_bits_have_their_names(text: str, present: set[str], past: set[str]) -> None:
    bits = parse_throttled(text)
    assert {name for name in NAMES if getattr(bits, name)} == present
    assert {name for name in NAMES if getattr(bits, f"had_{name}")} == past
    assert None not in vars(bits).values()


@pytest.mark.parametrize("text", ["50000", "throttled=", "throttled=0x", "throttled=0xg", "N/A"])
def test_another_text_is_an_error(text: str) -> None:
    with pytest.raises(SensorError, match="no answer"):
        parse_throttled(text)


@given(st.integers(0, 2**32 - 1))
def test_any_number_is_bits(number: int) -> None:
    bits = parse_throttled(f"throttled=0x{number:x}")
    assert bits.under_voltage == bool(number & 1)
    assert bits.had_soft_limit == bool(number & 1 << 19)


def test_the_firmware_is_asked_first(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).firmware({"get_throttled": "throttled=0x50005"})
    board.write({f"{ALARM}/name": "rpi_volt", f"{ALARM}/in0_lcrit_alarm": 0})
    gauge = ThrottleGauge(tmp_path)
    bits = gauge.read()
    assert gauge.source == "firmware"
    assert bits is not None
    assert bits.throttled


def test_without_the_firmware_the_kernels_alarm_tells_of_the_voltage_only(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.write({f"{ALARM}/name": "rpi_volt", f"{ALARM}/in0_lcrit_alarm": 1})
    gauge = ThrottleGauge(tmp_path)
    assert (gauge.source, gauge.read()) == ("rpi_volt", ThrottleBits(under_voltage=True))
    board.write({f"{ALARM}/in0_lcrit_alarm": 0})
    assert gauge.read() == ThrottleBits(under_voltage=False)


def test_a_board_that_has_neither_knows_nothing_and_says_why(tmp_path: Path) -> None:
    gauge = ThrottleGauge(tmp_path)
    assert (gauge.source, gauge.read()) == ("", None)
    assert "vcio" in gauge.reason


def test_the_old_file_of_sysfs_is_never_opened(tmp_path: Path) -> None:
    old = "sys/devices/platform/soc/soc:firmware/get_throttled"
    FakeBoard(tmp_path).write({old: "50005\n"})
    assert ThrottleGauge(tmp_path).read() is None


def test_an_answer_that_fails_is_none_for_now_and_comes_back(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).firmware({"get_throttled": "throttled=0x1"})
    gauge = ThrottleGauge(tmp_path)
    board.firmware({"get_throttled": ""})
    assert gauge.read() is None
    board.firmware({"get_throttled": "throttled=0x1"})
    bits = gauge.read()
    assert bits is not None
    assert bits.under_voltage


def test_a_node_that_does_not_answer_is_closed(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vcio").symlink_to("/dev/null")
    before = len(list(DESCRIPTORS.iterdir()))
    gauge = ThrottleGauge(tmp_path)
    assert (gauge.source, gauge.read()) == ("", None)
    assert "Inappropriate ioctl" in gauge.reason
    assert len(list(DESCRIPTORS.iterdir())) == before
