"""How sure the router says it is of the bundled experts' texts, and how often it is right then."""

from tools.eval.bundled import calibrated, halves, lessons


def test_of_texts_that_did_not_calibrate_it_the_head_is_as_often_right_as_it_says() -> None:
    error, perfect = calibrated("bundled", halves(lessons()))
    assert error.count > 1000
    # Two points is what is asked for; some 1.4 is what chance alone shows of so many texts.
    assert error.value <= 0.02
    assert perfect.value <= 0.02
