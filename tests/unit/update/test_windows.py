"""When bytes may be fetched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.update import Fault, Update, UpdateError, WrongUpdateError, check_update
from aiosd.update.windows import Circumstances, Spent, check_leave, is_open


@pytest.mark.parametrize(
    ("window", "clock", "is_within"),
    [
        ("08:00-09:00", "08:00", True),
        ("08:00-09:00", "08:59", True),
        ("08:00-09:00", "09:00", False),
        ("08:00-09:00", "07:59", False),
        ("22:00-05:30", "23:59", True),
        ("22:00-05:30", "00:00", True),
        ("22:00-05:30", "05:29", True),
        ("22:00-05:30", "05:30", False),
        ("22:00-05:30", "12:00", False),
        ("00:00-00:00", "12:00", True),
    ],
)
def test_a_window_has_its_beginning_and_not_its_end(
    window: str, clock: str, *, is_within: bool
) -> None:
    hours, minutes = map(int, clock.split(":"))
    assert is_open([window], hours * 60 + minutes) is is_within


@given(st.integers(0, 1439))
def test_no_window_means_always_and_several_add_up(minute: int) -> None:
    assert is_open([], minute)
    assert is_open(["00:00-12:00", "12:00-00:00"], minute)


def leave(update: Update, count: int, *, anyway: bool = False, **now: object) -> Fault | None:
    at = Circumstances(
        minute=int(str(now.get("minute", 0))),
        metered=bool(now.get("metered")),
        spent=Spent(day="d", fetched=int(str(now.get("fetched", 0)))),
    )
    try:
        check_leave(update, at, count=count, anyway=anyway)
    except UpdateError as error:
        return error.fault
    return None


def test_nothing_to_fetch_needs_no_leave() -> None:
    assert leave(Update(window=["22:00-23:00"]), 0, minute=600, metered=True) is None


def test_each_setting_has_its_own_word() -> None:
    assert leave(Update(window=["22:00-23:00"]), 1, minute=600) is Fault.OUT_OF_WINDOW
    assert leave(Update(), 1, metered=True) is Fault.METERED
    assert leave(Update(metered_budget="1 KiB"), 1024, metered=True) is None
    assert leave(Update(day_budget="1 KiB"), 1000, fetched=25) is Fault.OVER_BUDGET
    assert leave(Update(day_budget="1 KiB"), 1000, fetched=24) is None
    assert leave(Update(day_budget="1 KiB"), 1025, anyway=True) is Fault.OVER_BUDGET


def test_another_day_begins_with_nothing() -> None:
    spent = Spent(day="monday").plus(10, metered=True).plus(5, metered=False)
    assert (spent.fetched, spent.metered) == (15, 10)
    assert spent.on("monday") is spent
    assert spent.on("tuesday") == Spent(day="tuesday")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"rate": "fast"}, "rate"),
        ({"largest": "-1"}, "largest"),
        ({"window": ["at night"]}, "window"),
        ({"window": ["24:00-25:00"]}, "window"),
        ({"url": "ftp://models.example"}, "url"),
        ({"url": "https://user:word@models.example"}, "url"),
        ({"url": "file://relative"}, "url"),
        ({"url": "https://models.example", "root": ""}, "root"),
    ],
)
def test_settings_that_are_none_are_refused_by_their_key(
    changes: dict[str, object], key: str
) -> None:
    with pytest.raises(WrongUpdateError) as caught:
        check_update(Update(**changes))
    assert caught.value.key == key


@pytest.mark.parametrize(
    "url", ["", "https://models.example/board", "http://[::1]:80/x", "file:///media/stick"]
)
def test_addresses_of_repositories_are_taken(url: str) -> None:
    check_update(Update(url=url))
