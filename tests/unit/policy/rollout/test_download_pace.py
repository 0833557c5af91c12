"""How fast a download may be, and when it is too slow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.rollout.download_pace import DownloadPace, PaceRules


def test_without_rules_nothing_rests_and_nothing_is_too_slow() -> None:
    pace = DownloadPace(PaceRules(), 0.0)
    for now in range(1000):
        step = pace.took(1, float(now))
        assert not step.rest_seconds
        assert not step.too_slow


@given(
    pieces=st.lists(
        st.tuples(st.integers(1, 100_000), st.floats(0, 2, allow_subnormal=False)), max_size=50
    )
)
def test_the_cap_holds_over_any_stretch_of_pieces(pieces: list[tuple[int, float]]) -> None:
    cap, now, sent = 10_000.0, 0.0, 0
    pace = DownloadPace(PaceRules(cap=cap), now)
    for count, idle in pieces:
        now += idle
        sent += count
        now += pace.took(count, now).rest_seconds
        assert sent <= cap * (now + 0.25) + 1e-6


def test_what_is_slow_is_judged_over_a_whole_window_only() -> None:
    pace = DownloadPace(PaceRules(least=100.0, window_seconds=30.0), 0.0)
    assert not pace.took(1, 29.0).too_slow
    assert pace.took(1, 30.0).too_slow


def test_a_fast_beginning_does_not_excuse_a_slow_end() -> None:
    pace = DownloadPace(PaceRules(least=100.0, window_seconds=30.0), 0.0)
    assert not pace.took(1_000_000, 1.0).too_slow
    assert not pace.took(1, 30.0).too_slow
    assert pace.took(1, 32.0).too_slow


@pytest.mark.parametrize(("cap", "bar"), [(0.0, 100.0), (1000.0, 100.0), (120.0, 60.0)])
def test_a_cap_never_makes_a_download_too_slow(cap: float, bar: float) -> None:
    assert PaceRules(cap=cap, least=100.0).bar == bar
