import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.board import Correction, PowerFacts
from aiosd.domain.power import EnergySource, Scope
from aiosd.sensors.kernel_file import KernelFile, SensorError
from aiosd.sensors.rails import RailSum

RAILS = {"A": "", "B": ""}
LINE = Correction(scale=2.0, offset_watts=1.0, uncertainty_share=0.5)


def test_errors_of_steps_add_up_as_squares_and_the_instruments_own_as_a_share() -> None:
    rails = RailSum(PowerFacts(rails=RAILS, total_rails=["A", "B"], uncertainty_share=0.1), RAILS)
    sample = rails.sample([("A", 3.0), ("B", 1.0)], 0.0, [0.3, 0.4])
    assert sample.watts == 4.0
    # An even spread of width 0.5 (3-4-5) has 0.5/√12 as deviation.
    assert sample.uncertainty_watts == pytest.approx(math.hypot(0.5 / math.sqrt(12), 0.4))


def test_a_correction_stretches_the_sum_and_its_error() -> None:
    rails = RailSum(PowerFacts(rails=RAILS, correction=LINE, uncertainty_share=0.1), RAILS)
    sample = rails.sample([("A", 3.0), ("B", 1.0)], 0.0, [0.3, 0.4])
    assert sample.watts == 9.0
    assert sample.uncertainty_watts == pytest.approx(math.hypot(1.0 / math.sqrt(12), 4.5))
    assert sample.rails == (("A", 3.0), ("B", 1.0))


@pytest.mark.parametrize(
    "facts",
    [PowerFacts(rails=RAILS, total_rails=["A", "B"]), PowerFacts(rails=RAILS, correction=LINE)],
)
def test_a_whole_without_one_of_its_rails_is_refused(facts: PowerFacts) -> None:
    with pytest.raises(SensorError, match=r"missing: B \(found: A\)"):
        RailSum(facts, ["A"])


def test_a_part_without_one_of_its_rails_says_which_it_has() -> None:
    rails = RailSum(PowerFacts(rails=RAILS), ["B", "other"])
    assert (rails.rails, rails.source) == (("B",), EnergySource.MEASURED_PARTIAL)
    assert rails.scope is Scope.RAILS


def test_a_profile_without_rails_measures_nothing() -> None:
    with pytest.raises(SensorError, match="the profile names none"):
        RailSum(PowerFacts(), ["A"])


watts = st.floats(0, 100)


@given(watts=st.lists(watts, min_size=1, max_size=5), step=st.floats(0, 1))
def test_the_uncertainty_is_never_less_than_the_instruments_share(
    watts: list[float], step: float
) -> None:
    names = [f"R{number}" for number in range(len(watts))]
    rails = RailSum(PowerFacts(rails=dict.fromkeys(names, "")), names)
    sample = rails.sample(list(zip(names, watts, strict=True)), 0.0, [step] * len(watts))
    assert sample.watts == pytest.approx(sum(watts))
    assert sample.uncertainty_watts >= 0.03 * sample.watts - 1e-12


def test_a_file_may_be_closed_twice_and_then_says_that_it_is_shut(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    file = KernelFile(tmp_path / "x")
    assert file.number() == 1
    file.close()
    file.close()
    with pytest.raises(SensorError, match="Bad file descriptor"):
        file.number()


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    file = KernelFile(tmp_path / "x")
    with pytest.raises(SensorError, match="Illegal seek"):
        file.text()
    file.close()
