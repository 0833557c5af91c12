"""A teacher that is late, lies or is gone is asked again, skipped with a count, or given up."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.distill.asking import HOPELESS, Patience, Told, ask
from tools.distill.fault import BudgetError, NonsenseError, TeacherError, UnansweredError
from tools.distill.logit_cache import LogitCache
from tools.distill.progress import Progress, bar
from tools.distill.table import Input, key_of


class Scripted:
    """A teacher that fails as it is told: by text, how often yet."""

    fingerprint = "scripted"

    def __init__(self, batch: int, failing: dict[str, int], error: type[Exception]) -> None:
        self.batch, self.failing, self.error = batch, failing, error
        self.asked: list[str] = []

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        self.asked += [str(one) for one in inputs]
        for one in inputs:
            if self.failing.get(str(one), 0):
                self.failing[str(one)] -= 1
                raise self.error("as told")
        return np.zeros((len(inputs), 3), np.float32)


TEXTS = ["a", "b", "c", "d", "e"]


def asked(
    folder: Path,
    teacher: Scripted,
    texts: Sequence[str] = TEXTS,
    sleep: Callable[[float], None] = lambda _: None,
) -> Told:
    with LogitCache(folder / "answers", teacher.fingerprint, 3) as cache:
        return ask(
            teacher,
            texts,
            cache,
            3,
            patience=Patience(3, 0.5, sleep),
            progress=Progress("test", io.StringIO()),
        )


def test_everything_is_asked_once_and_never_again(tmp_path: Path) -> None:
    teacher = Scripted(2, {}, UnansweredError)
    assert asked(tmp_path, teacher, [*TEXTS, "a"]) == Told(answered=5)
    assert asked(tmp_path, teacher) == Told(known=5)
    assert teacher.asked == TEXTS


@pytest.mark.parametrize("error", [UnansweredError, NonsenseError])
def test_one_that_fails_once_is_asked_again_after_a_wait(
    tmp_path: Path, error: type[Exception]
) -> None:
    waits: list[float] = []
    told = asked(tmp_path, Scripted(1, {"c": 2}, error), sleep=waits.append)
    assert told == Told(answered=5, retried=2)
    assert waits == [0.5, 1.0]


def test_one_that_always_fails_is_skipped_with_a_count_and_not_asked_by_the_next_run(
    tmp_path: Path,
) -> None:
    told = asked(tmp_path, Scripted(1, {"c": 99}, NonsenseError))
    assert (told.answered, told.skipped) == (4, 1)
    later = Scripted(1, {}, NonsenseError)
    assert asked(tmp_path, later) == Told(known=5, skipped=1)
    assert later.asked == []
    assert "1 without a usable answer" in told.line()


def test_one_bad_question_does_not_cost_its_neighbours_their_answers(tmp_path: Path) -> None:
    told = asked(tmp_path, Scripted(5, {"c": 99}, NonsenseError))
    assert (told.answered, told.skipped) == (4, 1)


def test_a_row_that_is_no_number_is_nonsense(tmp_path: Path) -> None:
    class Odd(Scripted):
        def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
            found = super().logits(inputs)
            found[[str(one) == "d" for one in inputs]] = np.inf
            return found

    assert asked(tmp_path, Odd(2, {}, NonsenseError)).skipped == 1


def test_a_teacher_that_is_gone_is_given_up_early_and_nothing_is_kept(tmp_path: Path) -> None:
    texts = [f"text {place}" for place in range(500)]
    gone = Scripted(1, dict.fromkeys(texts, 99), UnansweredError)
    with pytest.raises(TeacherError, match="none of its first"):
        asked(tmp_path, gone, texts)
    assert len(set(gone.asked)) == HOPELESS
    assert asked(tmp_path, Scripted(1, {}, UnansweredError), texts).answered == 500


def test_what_was_answered_before_the_money_ran_out_is_kept(tmp_path: Path) -> None:
    poor = Scripted(1, {"d": 1}, BudgetError)
    with pytest.raises(BudgetError):
        asked(tmp_path, poor)
    richer = Scripted(1, {}, BudgetError)
    assert asked(tmp_path, richer) == Told(answered=2, known=3)
    assert richer.asked == ["d", "e"]


def test_the_same_input_has_the_same_key_and_texts_are_not_arrays() -> None:
    assert key_of("a") == key_of("a") != key_of("b")
    assert key_of(np.zeros((2, 3), np.float32)) != key_of(np.zeros((3, 2), np.float32))


def test_a_bar_says_how_far_and_how_long_yet() -> None:
    line = bar("teacher", 0.25, 10.0, {"loss": 0.5})
    assert "25%" in line
    assert "30 s left" in line
    assert "loss 0.5000" in line
