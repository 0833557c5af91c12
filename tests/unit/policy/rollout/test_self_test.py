"""What counts as the expected answer."""

import pytest

from aiosd.policy.rollout.self_test import differences

GIVEN = {
    "label": "seven",
    "score": 0.991,
    "anomaly": True,
    "boxes": [{"label": "cat", "box": [0.1, 0.2, 0.3, 0.4]}],
}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"label": "seven"},
        {"score": 0.99},
        {"anomaly": True},
        {"boxes": [{"box": [0.1, 0.2, 0.3, 0.401]}]},
    ],
)
def test_what_is_there_within_the_tolerance_is_no_difference(expected: dict[str, object]) -> None:
    assert list(differences(expected, GIVEN, 0.01)) == []


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"label": "one"}, "label is 'seven', not 'one'"),
        ({"score": 0.9}, "score is 0.991, not 0.9"),
        ({"anomaly": 1}, "anomaly is True, not 1"),
        ({"other": 1}, "other is missing"),
        ({"boxes": []}, "boxes is"),
        ({"boxes": [{"label": "dog"}]}, "boxes[0].label is 'cat', not 'dog'"),
        ({"label": {"x": 1}}, "label is 'seven', not a map"),
    ],
)
def test_every_difference_is_named(expected: dict[str, object], said: str) -> None:
    (difference,) = differences(expected, GIVEN, 0.01)
    assert difference.startswith(said)
