"""Which devices a staged rollout reaches."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.rollout.percentile import percentile, reached


@given(st.text(), st.text(), st.integers(1, 2**31))
def test_a_place_is_fixed_and_within_the_hundred(device: str, name: str, release: int) -> None:
    place = percentile(device, name, release)
    assert 0.0 <= place < 100.0
    assert place == percentile(device, name, release)
    assert not reached(device, name, release, 0)
    assert reached(device, name, release, 100)


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_more_percent_never_lose_a_device(device: str, some: int, more: int) -> None:
    low, high = sorted((some, more))
    assert reached(device, "one", 1, high) or not reached(device, "one", 1, low)


def test_places_are_even_and_differ_from_release_to_release() -> None:
    devices = [f"device-{number}" for number in range(4000)]
    first = {each for each in devices if reached(each, "one", 1, 10)}
    second = {each for each in devices if reached(each, "one", 2, 10)}
    # Four standard deviations of a binomial distribution around 400 and 40.
    assert abs(len(first) - 400) < 76
    assert abs(len(second) - 400) < 76
    assert abs(len(first & second) - 40) < 26


def test_the_place_is_the_one_that_is_written_down() -> None:
    # docs/updates.md gives this example; a publisher may reckon with it in another language.
    assert round(percentile("board", "one", 2), 3) == 17.725
