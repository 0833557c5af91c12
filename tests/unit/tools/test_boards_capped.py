"""Every board's profile with the daemon's policies on its simulated board: cap and heat.

Boards of which nobody published any watts are calibrated first, as their owner would.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from fakes.capped import CappedBoard
from fakes.simulated import Simulated

from aiosd.domain.allowance import Admission
from aiosd.domain.power import EnergySource, Scope
from tools.boardsim.owner import calibrated
from tools.boardsim.shapes import SHAPES

EVERY = pytest.mark.parametrize("name", sorted(SHAPES))
METERS = {
    "raspberry-pi-5": (EnergySource.MEASURED_PARTIAL, Scope.BOARD),
    "jetson-nano": (EnergySource.MEASURED_TOTAL, Scope.MODULE),
    "jetson-xavier-nx": (EnergySource.MEASURED_TOTAL, Scope.MODULE),
    "jetson-orin-nano": (EnergySource.MEASURED_TOTAL, Scope.MODULE),
    "jetson-orin-nx": (EnergySource.MEASURED_TOTAL, Scope.MODULE),
    "jetson-agx-orin": (EnergySource.MEASURED_PARTIAL, Scope.RAILS),
    "x86-n100": (EnergySource.RAPL_PACKAGE, Scope.PACKAGE),
    "generic": (EnergySource.RAPL_PACKAGE, Scope.PACKAGE),
    "am625": (EnergySource.CALIBRATED_MODEL, Scope.BOARD),
    "imx8mq": (EnergySource.CALIBRATED_MODEL, Scope.BOARD),
    "imx8m-plus": (EnergySource.CALIBRATED_MODEL, Scope.BOARD),
}
DEFAULT = (EnergySource.DEFAULT_MODEL, Scope.BOARD)


def state_file(name: str, folder: Path) -> Path | None:
    """A calibration, for a board without an instrument and without figures."""
    if METERS.get(name, DEFAULT)[0] is not EnergySource.CALIBRATED_MODEL:
        return None
    made = calibrated(Simulated(name, folder / "bench").live, settle_seconds=6.0)
    path = folder / "calibration.json"
    path.write_bytes(msgspec.json.encode(made))
    return path


@pytest.fixture
def capped(name: str, tmp_path: Path) -> Iterator[CappedBoard]:
    made = CappedBoard(name, tmp_path / "board", calibration=state_file(name, tmp_path))
    yield made
    made.close()


@EVERY
def test_the_meter_has_the_source_and_the_scope_of_the_board(
    name: str, capped: CappedBoard
) -> None:
    assert (capped.meter.source, capped.meter.scope) == METERS.get(name, DEFAULT)
    assert capped.books.idle_watts == pytest.approx(
        capped.bounds()[0], rel=max(0.1, capped.stated_share)
    )


@EVERY
@pytest.mark.usefixtures("name")
def test_a_watt_cap_holds_by_the_truth_within_the_error_that_the_meter_states(
    capped: CappedBoard,
) -> None:
    capped.demand = True
    capped.go(20.0)
    capped.joules.clear()
    before = capped.books.totals().meter_joules
    capped.go(70.0)
    told = (capped.books.totals().meter_joules - before) / 70.0
    assert told <= 1.03 * capped.cap_watts
    assert capped.mean_watts(60.0) <= capped.cap_watts * (1.03 + capped.stated_share)
    # And it is no cap that forbids everything.
    idle = capped.bounds()[0]
    assert told > idle + 0.5 * (capped.cap_watts - idle)
    assert capped.allowance is not None
    assert capped.allowance.admit is Admission.NOW


@EVERY
@pytest.mark.usefixtures("name")
def test_heat_takes_from_the_cap_and_gives_back_only_well_below_the_step(
    capped: CappedBoard,
) -> None:
    step = capped.rules.heat.steps[0]
    hysteresis = capped.rules.heat_hysteresis_celsius
    seen: list[float | None] = []
    for celsius in (
        step.at_celsius - 8,
        step.at_celsius + 2,
        step.at_celsius - hysteresis / 2,
        step.at_celsius - hysteresis - 2,
    ):
        capped.warm_to(celsius)
        assert capped.allowance is not None
        seen.append(capped.allowance.cap_watts)
    full, less = capped.cap_watts, capped.cap_watts * step.watts_factor
    assert seen == pytest.approx([full, less, less, full])
