"""What a release asks of a board is said before anything of it is loaded."""

import pytest

from aiosd.domain.release import Requires
from aiosd.policy.rollout.fitness import unfit

MIB = 2**20


def lacks(requires: Requires) -> list[str]:
    return list(
        unfit(requires, arch="aarch64", page_bytes=4096, room_bytes=100 * MIB, cap_watts=5.0)
    )


def test_a_release_that_asks_for_nothing_fits_everywhere() -> None:
    assert lacks(Requires()) == []
    fits = Requires(arch=["aarch64"], page_bytes=[4096], ram_peak_bytes=100 * MIB, power_watts=5.0)
    assert lacks(fits) == []


@pytest.mark.parametrize(
    ("requires", "sentence"),
    [
        (Requires(arch=["x86_64"]), "it is for x86_64, and this is aarch64"),
        (Requires(page_bytes=[16384]), "pages of 16384 bytes, and here they have 4096"),
        (Requires(ram_peak_bytes=101 * MIB), "it needs 101.0 MiB, and an expert can have 100.0"),
        (Requires(power_watts=6.0), "it takes 6 W, and the cap is 5 W"),
    ],
)
def test_what_a_board_lacks_is_said_with_its_numbers(requires: Requires, sentence: str) -> None:
    (found,) = lacks(requires)
    assert sentence in found


def test_without_a_cap_no_power_is_too_much() -> None:
    asks = Requires(power_watts=600.0)
    assert not list(unfit(asks, arch="", page_bytes=0, room_bytes=0, cap_watts=0.0))


def test_everything_that_is_lacking_is_said_at_once() -> None:
    assert len(lacks(Requires(arch=["riscv64"], power_watts=9.0))) == 2
