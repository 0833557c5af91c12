"""The key of a head is a function of what the packages teach, and of nothing else."""

from aiosd.policy.routing.lessons import Lesson, TextFile, in_order, key_of

LAMP = Lesson(expert="lamp", utterances=["light on"])
MONEY = Lesson(expert="money", examples=TextFile(sha256="1" * 64, path="/a/examples.tsv"))
MUTE = Lesson(expert="mute", refuses=["anything"])


def test_the_order_of_packages_and_where_they_lie_do_not_matter() -> None:
    moved = Lesson(expert="money", examples=TextFile(sha256="1" * 64, path="/b/examples.tsv"))
    assert key_of([LAMP, MONEY]) == key_of([moved, LAMP])


def test_what_teaches_nothing_leaves_no_trace() -> None:
    assert key_of([LAMP, MUTE]) == key_of([LAMP])
    assert key_of([MUTE]) == ""
    assert in_order([MUTE, MONEY, LAMP]) == [LAMP, MONEY]


def test_every_text_and_every_file_changes_the_key() -> None:
    keys = {
        key_of([LAMP]),
        key_of([Lesson(expert="lamp", utterances=["light off"])]),
        key_of([Lesson(expert="lamp2", utterances=["light on"])]),
        key_of([Lesson(expert="lamp", utterances=["light on"], refuses=["x"])]),
        key_of([Lesson(expert="lamp", utterances=["light on"], calibration=MONEY.examples)]),
        key_of([MONEY]),
    }
    assert len(keys) == 6
