"""What may go up in a day is never counted short, whatever crashes."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.outbound.allowance import Allowance, Amount, Mark

DAY = Amount(requests=20, bytes=10_000, micros=5_000)
NOTHING = Mark(0, Amount())


def test_the_first_thing_that_is_short_is_named_and_nothing_is_taken() -> None:
    allowance = Allowance(DAY, NOTHING)
    assert allowance.take(Amount(21, 0, 0), 0) == "requests_per_day"
    assert allowance.take(Amount(1, 10_001, 0), 0) == "bytes_per_day"
    assert allowance.take(Amount(1, 1, 5_001), 0) == "money_per_day"
    assert allowance.spent == Amount()
    assert allowance.take(DAY, 0) == ""
    assert allowance.take(Amount(1, 0, 0), 0) == "requests_per_day"


def test_without_a_budget_of_money_only_what_is_free_goes_up() -> None:
    allowance = Allowance(Amount(20, 10_000, 0), NOTHING)
    assert allowance.take(Amount(1, 10, 0), 0) == ""
    assert allowance.take(Amount(1, 10, 1), 0) == "money_per_day"


def test_what_was_not_needed_is_given_back_on_the_same_day_only() -> None:
    allowance = Allowance(DAY, NOTHING)
    taken = Amount(1, 1000, 500)
    assert allowance.take(taken, 0) == ""
    allowance.settle(taken, Amount(1, 200, 100), 0)
    assert allowance.spent == Amount(1, 200, 100)
    assert allowance.take(taken, 0) == ""
    assert allowance.look(1) == Amount()
    allowance.settle(taken, Amount(1, 200, 100), 0)
    assert allowance.spent == Amount()
    allowance.settle(taken, Amount(1, 1500, 0), 0)
    assert allowance.spent == Amount(0, 500, 0)


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    allowance = Allowance(DAY, NOTHING)
    assert allowance.take(DAY, 7) == ""
    assert allowance.take(Amount(1), 3) == "requests_per_day"
    assert allowance.take(Amount(1), 8) == ""


@dataclass
class Disk:
    """What lies on it, and how often it was written."""

    mark: Mark = NOTHING
    writes: int = 0


@dataclass
class World:
    """A process with a budget that may crash at any time, and what truly went up."""

    disk: Disk = field(default_factory=Disk)
    day: int = 0
    truth: Amount = NOTHING.spent

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.allowance = Allowance(DAY, self.disk.mark)
        self.open: list[tuple[Amount, int]] = []

    def write(self, mark: Mark) -> None:
        self.disk = Disk(mark, self.disk.writes + 1)
        self.allowance.written(mark)

    def ask(self, want: Amount) -> bool:
        if self.allowance.take(want, self.day):
            return False
        mark = self.allowance.mark()
        if mark:
            self.write(mark)
        self.open.append((want, self.day))
        self.truth += want  # the worst that can happen
        return True

    def end(self, share: float) -> None:
        taken, day = self.open.pop()
        real = Amount(1, int(taken.bytes * share), int(taken.micros * share))
        self.allowance.settle(taken, real, day)
        if day == self.day:
            self.truth = self.truth - taken + real


STEPS = st.lists(
    st.one_of(
        st.builds(Amount, st.just(1), st.integers(0, 2000), st.integers(0, 900)),
        st.floats(0.0, 1.0),
        st.sampled_from(["crash", "stop", "day", "back"]),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_crash_lets_more_go_up_than_the_day_allows(steps: list[Amount | float | str]) -> None:
    world = World()
    for step in steps:
        if isinstance(step, Amount):
            world.ask(step)
        elif isinstance(step, float):
            if world.open:
                world.end(step)
        elif step == "crash":
            world.start()
        elif step == "stop" and not world.open:
            world.write(world.allowance.exact())
            world.start()
        elif step == "day":
            world.day, world.truth = max(world.day, world.allowance.day) + 1, Amount()
            world.allowance.look(world.day)
            world.open.clear()
        elif step == "back":
            world.allowance.take(Amount(), world.day - 1)
        assert world.truth.fits(DAY)
        if world.allowance.day == world.day:
            assert world.truth.fits(world.allowance.spent), "never counted short"


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_the_disk_is_written_a_few_times_a_day_and_not_for_each_request(sizes: list[int]) -> None:
    world = World()
    for size in sizes:
        if world.ask(Amount(1, size, size)):
            world.end(1.0)
    assert world.disk.writes <= 3 * 16 + 3
    roomy = Allowance(Amount(1000, 10**9, 10**9), NOTHING)
    writes = 0
    for _ in range(1000):
        assert roomy.take(Amount(1, 1000, 1000), 0) == ""
        mark = roomy.mark()
        if mark:
            writes += 1
            roomy.written(mark)
    assert writes <= 17
