from pathlib import Path

import pytest
from fakes.board import POWERCAP, FakeBoard
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import EnergySource, Scope
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.rapl import open_rapl

N100 = PowerFacts(
    rails={"package-0": "the package"}, total_rails=["package-0"], scope=Scope.PACKAGE
)
ANY = PowerFacts()
RANGE = 262143328850


def test_a_counter_gives_the_joules_since_the_first_sample(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=240422366267)
    meter = open_rapl(N100, tmp_path)
    assert meter.sample(0.0).joules == 0.0
    board.rapl(count=240422366267 + 12_500_000)
    assert meter.sample(2.0).joules == pytest.approx(12.5)
    assert (meter.source, meter.scope) == (EnergySource.RAPL_PACKAGE, Scope.PACKAGE)


def test_a_counter_that_wraps_counts_on(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=RANGE - 1_000_000)
    meter = open_rapl(N100, tmp_path)
    meter.sample(0.0)
    board.rapl(count=2_000_000)
    assert meter.sample(1.0).joules == pytest.approx(3.0)


@given(start=st.integers(0, RANGE - 1), gained=st.integers(0, 900_000_000))
def test_whatever_the_counter_starts_at_the_gain_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, start: int, gained: int
) -> None:
    board = FakeBoard(tmp_path_factory.mktemp("board"))
    board.rapl(count=start)
    meter = open_rapl(N100, board.root)
    meter.sample(0.0)
    board.rapl(count=(start + gained) % RANGE)
    assert meter.sample(1.0).joules == pytest.approx(gained / 1e6)
    meter.close()


def test_a_counter_that_was_set_back_is_no_262_kilojoules(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=100_000_000_000)
    meter = open_rapl(N100, tmp_path)
    meter.sample(0.0)
    board.rapl(count=0)
    with pytest.raises(SensorError, match="was set back"):
        meter.sample(1.0)
    board.rapl(count=5_000_000)
    assert meter.sample(2.0).joules == pytest.approx(5.0)


def test_without_a_range_a_wrap_is_an_error_and_never_negative(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=9_000_000)
    board.write({f"{POWERCAP}/intel-rapl:0/max_energy_range_uj": "N/A"})
    meter = open_rapl(N100, tmp_path)
    meter.sample(0.0)
    board.write({f"{POWERCAP}/intel-rapl:0/energy_uj": "10"})
    with pytest.raises(SensorError, match="was set back"):
        meter.sample(1.0)


def test_parts_of_a_package_and_copies_of_it_are_not_counted_twice(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    zones = [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "uncore"),
        ("intel-rapl:1", "psys"),
        ("intel-rapl:a", "package-10"),
        ("intel-rapl-mmio:0", "package-0"),
    ]
    for zone, name in zones:
        board.rapl(zone, name, count=0)
    meter = open_rapl(ANY, tmp_path)
    assert meter.rails == ("package-0", "package-10")
    meter.sample(0.0)
    for zone, name in zones:
        board.rapl(zone, name, count=1_000_000)
    assert meter.sample(1.0).joules == pytest.approx(2.0)


def test_a_machine_without_rapl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="no RAPL zone at all"):
        open_rapl(ANY, tmp_path)
    with pytest.raises(SensorError, match="no RAPL zone package-0"):
        open_rapl(N100, tmp_path)


def test_a_counter_that_may_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    # A file of the kernel that is for writing only, which even root may not open for reading.
    shut = Path("/proc/sys/vm/compact_memory")
    if not shut.exists():
        pytest.skip(f"needs {shut}, which this kernel has not")
    FakeBoard(tmp_path).rapl()
    counter = tmp_path / POWERCAP / "intel-rapl:0/energy_uj"
    counter.unlink()
    counter.symlink_to(shut)
    with pytest.raises(SensorError, match="Permission denied") as caught:
        open_rapl(N100, tmp_path)
    assert "tmpfiles.d" in caught.value.advice


def test_an_input_output_error_passes_and_nothing_is_lost(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=0)
    meter = open_rapl(N100, tmp_path)
    meter.sample(0.0)
    board.write({f"{POWERCAP}/intel-rapl:0/energy_uj": ""})
    with pytest.raises(SensorError, match="empty"):
        meter.sample(1.0)
    board.rapl(count=3_000_000)
    assert meter.sample(2.0).joules == pytest.approx(3.0)


def test_joules_add_up_over_samples(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl(count=0)
    meter = open_rapl(N100, tmp_path)
    joules = []
    for now, count in enumerate((0, 2_000_000, 3_000_000, 7_000_000)):
        board.rapl(count=count)
        joules.append(meter.sample(float(now)).joules)
    assert joules == pytest.approx([0.0, 2.0, 3.0, 7.0])


def test_what_one_package_gained_while_the_other_failed_is_not_lost(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path)
    board.rapl("intel-rapl:0", "package-0", count=9_000_000_000)
    board.rapl("intel-rapl:1", "package-1", count=0)
    meter = open_rapl(ANY, tmp_path)
    meter.sample(0.0)
    board.rapl("intel-rapl:0", "package-0", count=0)
    board.rapl("intel-rapl:1", "package-1", count=5_000_000)
    with pytest.raises(SensorError, match="package-0 was set back"):
        meter.sample(1.0)
    board.rapl("intel-rapl:1", "package-1", count=8_000_000)
    assert meter.sample(2.0).joules == pytest.approx(8.0)
