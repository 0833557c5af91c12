"""Bad data are found before training, by name and with examples."""

import numpy as np
import pytest

from tools.distill.checks import check, hold, without_leaks, without_repeats
from tools.distill.fault import DataError
from tools.distill.table import Material, Problem, Table, normal_form, unlabelled

GOOD = [(f"good {word}", 0) for word in ("tea", "rain", "bread", "song", "lamp")]
BAD = [(f"bad {word}", 1) for word in ("tea", "rain", "bread", "song", "lamp")]


def table(rows: list[tuple[str, int]]) -> Table:
    return Table([text for text, _ in rows], np.array([label for _, label in rows], np.int64))


def material(
    train: list[tuple[str, int]], held: list[tuple[str, int]], transfer: tuple[str, ...] = ()
) -> Material:
    return Material(
        ("good", "bad"), table(train), unlabelled(transfer), table([]), table(held), "a test"
    )


HELD = [("good night", 0), ("bad night", 1)]


def problems(found: Material) -> dict[Problem, int]:
    return {each.problem: each.count for each in check(found)}


def test_clean_data_have_no_findings() -> None:
    assert check(material(GOOD + BAD, HELD)) == []


@pytest.mark.parametrize(
    ("found", "problem", "count"),
    [
        (material([*GOOD, *BAD, ("who knows", -2)], HELD), Problem.UNLABELLED, 1),
        (material(GOOD + BAD, [*HELD, ("who knows", -2)]), Problem.UNLABELLED, 1),
        (material([*GOOD, *BAD, ("  ", 0)], HELD), Problem.EMPTY, 1),
        (material(GOOD + BAD, []), Problem.EMPTY, 1),
        (material(GOOD, HELD), Problem.IMBALANCED, 1),
        (material(GOOD + BAD, [*HELD, ("Good  TEA!", 0)]), Problem.LEAKING, 1),
        (material(GOOD + BAD, HELD, ("good night.",)), Problem.LEAKING, 1),
    ],
)
def test_what_makes_a_proof_void_stops_the_run(
    found: Material, problem: Problem, count: int
) -> None:
    assert problems(found)[problem] == count
    with pytest.raises(DataError, match=problem.value):
        hold(check(found), [])


def test_what_the_recipe_allows_by_name_goes_on() -> None:
    found = material(GOOD + BAD, [*HELD, ("Good  TEA!", 0)])
    hold(check(found), [Problem.LEAKING])


def test_repeats_conflicts_and_rare_labels_are_noted_only() -> None:
    many = [(f"good thing number {'x' * place}", 0) for place in range(200)]
    rows = [*many, ("good tea", 0), ("Good tea!", 0), ("bad tea", 1), ("bad, tea", 0)]
    found = material(rows, HELD)
    assert problems(found) == {
        Problem.DUPLICATE: 1,
        Problem.CONFLICTING: 1,
        Problem.IMBALANCED: 1,
    }
    hold(check(found), [])


def test_a_finding_shows_examples() -> None:
    (found,) = check(material(GOOD + BAD, [*HELD, ("Good  TEA!", 0)]))
    assert "Good  TEA!" in found.line()


@pytest.mark.parametrize(
    ("one", "other"), [("Call 0906 now!", "call 1234, NOW"), ("Café", "cafe"), ("a  b", "A-B")]
)
def test_texts_that_are_one_to_a_person_have_one_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


def test_arrays_are_alike_only_if_equal() -> None:
    one = np.zeros((2, 2), np.float32)
    assert normal_form(one) == normal_form(one.copy())
    assert normal_form(one) != normal_form(one + 1)


def test_leaks_and_repeats_can_be_taken_out() -> None:
    rows = table([("good tea", 0), ("GOOD TEA", 0), ("good night", 0)])
    assert list(without_repeats(rows).inputs) == ["good tea", "good night"]
    assert list(without_leaks(rows, table(HELD)).inputs) == ["good tea", "GOOD TEA"]
