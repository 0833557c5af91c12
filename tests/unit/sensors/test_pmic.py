import struct
from pathlib import Path

import pytest
from fakes.board import PI_5_HEAVY, PI_5_LIGHT, FakeBoard, pmic_text
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import Correction, PowerFacts
from aiosd.domain.power import EnergySource, Scope
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.mailbox import answer, open_mailbox, request
from aiosd.sensors.pmic import open_pmic, parse_rails

RAILS = {name: "" for name, _, _ in PI_5_HEAVY}
BARE = PowerFacts(rails=RAILS)
CORRECTED = PowerFacts(
    rails=RAILS,
    correction=Correction(scale=1.1451, offset_watts=0.5879, uncertainty_share=0.1),
)


# The sums and corrected sums that their authors (or a desk calculator) give.
@pytest.mark.parametrize(
    ("rails", "total", "corrected"), [(PI_5_HEAVY, 10.80, 12.95), (PI_5_LIGHT, 3.51, 4.60)]
)
def test_published_dumps_give_their_published_sums(
    tmp_path: Path, rails: tuple[tuple[str, str, str], ...], total: float, corrected: float
) -> None:
    FakeBoard(tmp_path).firmware({"pmic_read_adc": pmic_text(rails)})
    assert open_pmic(BARE, tmp_path).sample(0.0).watts == pytest.approx(total, abs=0.01)
    sample = open_pmic(CORRECTED, tmp_path).sample(0.0)
    assert sample.watts == pytest.approx(corrected, abs=0.01)
    assert sample.uncertainty_watts == pytest.approx(0.1 * sample.watts, rel=0.01)


def test_only_a_correction_makes_the_boards_power_of_the_rails(tmp_path: Path) -> None:
    FakeBoard(tmp_path).firmware({"pmic_read_adc": pmic_text()})
    assert open_pmic(BARE, tmp_path).scope is Scope.RAILS
    meter = open_pmic(CORRECTED, tmp_path)
    assert (meter.source, meter.scope) == (EnergySource.MEASURED_PARTIAL, Scope.BOARD)


def test_an_answer_that_lacks_a_rail_is_an_error_and_never_a_smaller_sum(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path).firmware({"pmic_read_adc": pmic_text()})
    meter = open_pmic(CORRECTED, tmp_path)
    cut = "\n".join(line for line in pmic_text().splitlines() if "VDD_CORE_V" not in line)
    board.firmware({"pmic_read_adc": cut})
    with pytest.raises(SensorError, match="lacks VDD_CORE"):
        meter.sample(1.0)
    board.firmware({"pmic_read_adc": pmic_text(PI_5_LIGHT)})
    assert meter.sample(2.0).watts == pytest.approx(4.60, abs=0.01)


@pytest.mark.parametrize("text", ["", 'error=1 error_msg="Command not registered"', "N/A"])
def test_a_firmware_that_knows_no_such_question_is_refused(tmp_path: Path, text: str) -> None:
    FakeBoard(tmp_path).firmware({"pmic_read_adc": text})
    with pytest.raises(SensorError):
        open_pmic(CORRECTED, tmp_path)


def test_a_voltage_without_a_current_is_no_rail() -> None:
    assert parse_rails("EXT5V_V volt(24)=5.06788000V\n") == {}


@given(st.text(max_size=300))
def test_any_text_is_rails_or_nothing(text: str) -> None:
    assert parse_rails(text) == {} or "=" in text


numbers = st.integers(0, 50 * 10**8).map(lambda units: f"{units / 10**8:.8f}")


@given(
    st.dictionaries(st.from_regex(r"[A-Z0-9_]{1,9}", fullmatch=True), st.tuples(numbers, numbers))
)
def test_rails_are_read_back_as_the_firmware_writes_them(
    rails: dict[str, tuple[str, str]],
) -> None:
    text = "".join(
        f"   {name}_A current({number})={amperes}A\n   {name}_V volt({number})={volts}V\n"
        for number, (name, (volts, amperes)) in enumerate(rails.items())
    )
    read = {name: (float(volts), float(amps)) for name, (volts, amps) in rails.items()}
    assert parse_rails(text) == read


def reply(text: bytes, *, code: int = 0x8000_0000, error: int = 0) -> bytes:
    message = bytearray(request("pmic_read_adc"))
    struct.pack_into("=6I", message, 0, len(message), code, 0x30080, 1024, 0x8000_0400, error)
    message[24 : 24 + 1024] = text.ljust(1024, b"\0")[:1024]
    return bytes(message)


def test_a_question_is_laid_out_as_vcgencmd_lays_it_out() -> None:
    message = request("get_throttled")
    assert len(message) == 263 * 4
    assert struct.unpack_from("=6I", message) == (1052, 0, 0x00030080, 1024, 0, 0)
    assert message[24:38] == b"get_throttled\0"
    assert message[-4:] == b"\0\0\0\0"


def test_an_answer_ends_at_its_zero_byte() -> None:
    assert answer(reply(b"throttled=0x0\0junk"), "get_throttled") == "throttled=0x0"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (reply(b"x", code=0), "does not answer"),
        (reply(b"x", code=0x8000_0001), "does not answer"),
        (reply(b"x", error=1), "with error 1"),
        (reply(b""), "with nothing"),
    ],
)
def test_a_firmware_that_refuses_is_an_error(message: bytes, said: str) -> None:
    with pytest.raises(SensorError, match=said):
        answer(message, "pmic_read_adc")


@given(st.binary(min_size=1052, max_size=1052))
def test_any_message_is_text_or_an_error(message: bytes) -> None:
    try:
        text = answer(message, "x")
    except SensorError:
        return
    assert text
    assert "\0" not in text


def test_the_node_with_fewer_rights_comes_first(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.firmware({"get_throttled": "old"}, node="vcio")
    assert open_mailbox(tmp_path).ask("get_throttled") == "old"
    board.firmware({"get_throttled": "new"})
    assert open_mailbox(tmp_path).ask("get_throttled") == "new"


def test_a_board_without_a_mailbox_says_so(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="/dev/vcio_gencmd"):
        open_mailbox(tmp_path)


def test_a_node_that_is_no_mailbox_fails_and_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vcio").symlink_to("/dev/null")
    with pytest.raises(SensorError, match="Inappropriate ioctl"):
        open_pmic(CORRECTED, tmp_path)
