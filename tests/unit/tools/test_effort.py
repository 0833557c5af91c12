import pytest
from fakes.effort import cpu_at_most, least_cpu


def _work_for_ever() -> None:
    while True:
        pass


def test_work_without_end_is_broken_off_and_fails() -> None:
    with pytest.raises(AssertionError, match="more than"), cpu_at_most(0.05):
        _work_for_ever()


def test_the_least_of_several_calls_counts() -> None:
    calls: list[int] = []

    def more_at_first() -> None:
        calls.append(sum(range(1_000_000 if not calls else 10)))

    assert 0.0 <= least_cpu(more_at_first, 3) < 0.005
    assert len(calls) == 3
