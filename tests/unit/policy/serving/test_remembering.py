"""What is worth a write to an SD card."""

import pytest

from aiosd.domain.footprint import Footprint
from aiosd.policy.serving.appetite import SEASONED
from aiosd.policy.serving.expert_facts import ExpertFacts
from aiosd.policy.serving.remembering import footprint_of, worth_writing
from aiosd.policy.serving.restart import RestartRules
from aiosd.policy.serving.slots import Slot

KEPT = Footprint(engine="e 1", peak_bytes=10_000_000, answers=SEASONED, reload_seconds=1.0)


def other(**changed: object) -> Footprint:
    fields = {name: getattr(KEPT, name) for name in KEPT.__struct_fields__}
    return Footprint(**{**fields, **changed})


def test_the_first_measurement_is_worth_writing() -> None:
    assert worth_writing(None, KEPT)


@pytest.mark.parametrize(
    ("changed", "worth"),
    [
        ({}, False),
        ({"peak_bytes": 10_100_000}, False),
        ({"peak_bytes": 10_300_000}, True),
        ({"peak_bytes": 9_700_000}, True),
        ({"answers": SEASONED - 1}, True),
        ({"answers": SEASONED + 100}, False),
        ({"reload_seconds": 1.4}, False),
        ({"reload_seconds": 1.6}, True),
        ({"reload_seconds": 0.4}, True),
        ({"engine": "e 2"}, True),
    ],
)
def test_only_what_would_change_a_start_is_worth_writing(
    changed: dict[str, object],
    worth: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert worth_writing(KEPT, other(**changed)) is worth


def slot() -> Slot:
    return Slot(ExpertFacts("one", 5), RestartRules())


def test_nothing_is_known_of_what_was_never_measured() -> None:
    assert footprint_of(slot(), "e 1") is None


def test_a_worker_of_another_release_says_nothing() -> None:
    one = slot()
    one.on_measured(7)
    one.stale = True
    assert footprint_of(one, "e 1") is None


def test_answers_are_counted_as_far_as_they_matter() -> None:
    one = slot()
    one.on_measured(7)
    one.appetite.answers = 10_000
    found = footprint_of(one, "e 1")
    assert found is not None
    assert (found.peak_bytes, found.answers) == (7, SEASONED)
