"""What one expert is expected to hold, before and after it was measured."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.footprint import Footprint
from aiosd.policy.serving.appetite import SEASONED, Appetite
from aiosd.policy.serving.expert_facts import ExpertFacts

KNOWN = Footprint(engine="litert 2", peak_bytes=700, answers=3, reload_seconds=0.2)
sizes = st.integers(0, 10_000)


def test_until_it_is_measured_the_facts_count_and_the_operator_counts_more() -> None:
    one = Appetite(ExpertFacts("one", 1000))
    assert one.expected_bytes() == 1000
    one.allow(600)
    assert (one.need_bytes, one.expected_bytes()) == (600, 600)


def test_what_was_measured_before_is_known_from_the_start() -> None:
    one = Appetite(ExpertFacts("one", 1000, known=KNOWN))
    assert (one.need_bytes, one.peak_bytes, one.answers) == (700, 700, 3)


def test_another_release_is_not_held_to_what_the_operator_said_of_the_last() -> None:
    one = Appetite(ExpertFacts("one", 1000))
    one.allow(600)
    one.recall()
    assert one.need_bytes == 1000


def test_a_seasoned_one_is_expected_to_hold_what_it_ever_held() -> None:
    one = Appetite(ExpertFacts("one", 1000))
    one.on_measured(500, 0)
    assert one.expected_bytes() == 540
    one.answers = SEASONED
    assert one.expected_bytes() == 500


@given(need=sizes, first=sizes, held=sizes, planned=st.booleans())
def test_nobody_is_promised_growth_beyond_what_is_expected(
    *, need: int, first: int, held: int, planned: bool
) -> None:
    one = Appetite(ExpertFacts("one", need, planned=planned))
    one.on_measured(first, 0)
    one.on_measured(held, 0)
    growth = one.growth_bytes(held)
    assert growth >= 0
    assert held + growth <= max(one.expected_bytes(), held)
    assert one.expected_bytes() >= one.peak_bytes


@given(sizes, sizes, sizes)
def test_shared_weights_are_never_counted_as_more_than_was_held(
    need: int, held: int, shared: int
) -> None:
    one = Appetite(ExpertFacts("one", need, shared_model="a", shared_bytes=shared))
    assert max(0, held - shared) <= one.own_bytes(held, shared) <= held
