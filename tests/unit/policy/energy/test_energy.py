"""The energy books against a board whose every joule is known."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiosd.domain.energy import CpuInterval, EnergyFigure
from aiosd.domain.power import CounterSample, EnergySource, NoSample, PowerSample, Sample, Scope
from aiosd.policy.energy.energy import EnergyBooks
from aiosd.policy.energy.energy_curve import EnergyCurve
from aiosd.policy.energy.energy_fit import ExpertFit
from aiosd.policy.energy.idle_baseline import IdleBaseline

IDLE, CORE = 2.0, 1.5


def books(idle: float | None = IDLE) -> EnergyBooks:
    return EnergyBooks(EnergySource.MEASURED_TOTAL, Scope.BOARD, idle)


def power(watts: float, at: float, sigma: float = 0.0) -> PowerSample:
    return PowerSample(watts, at, sigma)


class Board:
    """Steps of `step` seconds; who uses how much of a core in a step is said by the test."""

    def __init__(self, step: float = 0.1, noise: float = 0.0, seed: int = 1) -> None:
        self.books = books()
        self.step, self.noise = step, noise
        self.now = 0.0
        self.truth: dict[str, float] = {}
        self.integral = 0.0
        self._random = random.Random(seed)
        self._counter = 0.0
        self.books.on_sample(CounterSample(0.0, 0.0, 0.02))

    def run(self, steps: int, *, other: float = 0.0, **cores: float) -> None:
        for _ in range(steps):
            spent = {name: share * self.step for name, share in cores.items()}
            joules = IDLE * self.step + CORE * (sum(spent.values()) + other * self.step)
            joules *= 1 + self._random.gauss(0.0, self.noise)
            for name, seconds in spent.items():
                self.truth[name] = self.truth.get(name, 0.0) + CORE * seconds
            self._counter += joules
            self.integral += joules
            end = self.now + self.step
            self.books.on_cpu(CpuInterval(self.now, end, tuple(spent.items()), other * self.step))
            self.books.on_sample(CounterSample(self._counter, end, 0.02))
            self.now = end


def test_a_long_request_alone_is_billed_what_it_added_and_the_idle_beneath_it() -> None:
    board = Board()
    board.run(100)
    board.books.on_started(1, "llm", "anna", board.now)
    board.run(30, llm=2.0)
    figure = board.books.on_ended(1, board.now, cpu_seconds=6.0, units=30)
    assert figure is not None
    assert figure.marginal_joules == pytest.approx(9.0, rel=0.01)
    assert figure.gross_joules == pytest.approx(9.0 + 3 * IDLE, rel=0.01)
    assert (figure.source, figure.scope) == (EnergySource.MEASURED_TOTAL, Scope.BOARD)
    assert (figure.samples, figure.fitted, figure.gap_seconds) == (30, False, 0.0)
    assert 0 < figure.uncertainty_joules < 1.0


def test_an_upgrade_beside_a_request_is_not_billed_to_it() -> None:
    board = Board()
    board.run(50)
    board.books.on_started(1, "llm", "anna", board.now)
    board.run(30, llm=1.0, other=3.0)
    figure = board.books.on_ended(1, board.now, cpu_seconds=3.0)
    assert figure is not None
    assert figure.marginal_joules == pytest.approx(4.5, rel=0.01)
    assert board.books.totals().other_joules == pytest.approx(13.5, rel=0.01)


def test_requests_that_overlap_share_by_cpu_time_and_halve_the_idle() -> None:
    board = Board()
    board.run(50)
    board.books.on_started(1, "llm", "anna", board.now)
    board.books.on_started(2, "cat", "ben", board.now)
    board.run(40, llm=3.0, cat=1.0)
    figures = [board.books.on_ended(each, board.now) for each in (1, 2)]
    gross = [each.gross_joules for each in figures if each]
    marginal = [each.marginal_joules for each in figures if each]
    assert marginal == pytest.approx([18.0, 6.0], rel=0.01)
    assert gross == pytest.approx([22.0, 10.0], rel=0.01)
    assert board.books.totals().clients == pytest.approx({"anna": 18.0, "ben": 6.0}, rel=0.01)


def test_a_load_is_the_experts_but_no_requests() -> None:
    board = Board()
    board.run(50)
    board.run(20, llm=1.0)
    totals = board.books.totals()
    assert totals.experts["llm"].resident_joules == pytest.approx(3.0, rel=0.01)
    assert totals.request_joules == 0


def test_a_short_request_is_answered_from_its_experts_fit() -> None:
    board = Board(noise=0.03)
    board.run(100)
    last: EnergyFigure | None = None
    for number in range(200):
        board.books.on_started(number, "spam", "anna", board.now + 0.02)
        end = board.now + 0.07
        cpu = 0.04 if number % 2 else 0.02
        board.run(1, spam=cpu / 0.1)
        last = board.books.on_ended(number, end, cpu_seconds=cpu, units=1)
        board.run(3)
    assert last is not None
    assert last.fitted
    assert last.marginal_joules == pytest.approx(0.04 * CORE, rel=0.1)
    # The noise of a whole interval is what one such request is known to.
    assert last.uncertainty_joules == pytest.approx(0.03 * 0.26, rel=0.6)


def test_what_short_requests_are_told_adds_up_to_what_the_books_hold() -> None:
    board = Board(noise=0.02, seed=4)
    board.run(100)
    told = 0.0
    chance = random.Random(5)
    for number in range(800):
        cores = chance.uniform(0.5, 3.0)
        board.books.on_started(number, "cat", "anna", board.now)
        board.run(2, cat=cores)
        figure = board.books.on_ended(number, board.now, cpu_seconds=0.2 * cores, units=1)
        told += figure.marginal_joules if figure else 0.0
        board.run(chance.randrange(1, 6), other=chance.choice((0.0, 0.5)))
    assert told == pytest.approx(board.books.totals().request_joules, rel=0.01)
    assert told == pytest.approx(board.truth["cat"], rel=0.01)


def test_the_first_request_of_all_has_a_figure_as_uncertain_as_it_is_large() -> None:
    board = Board()
    board.run(50)
    board.books.on_started(1, "cat", "anna", board.now)
    board.run(2, cat=1.0)
    figure = board.books.on_ended(1, board.now, cpu_seconds=0.2, units=1)
    assert figure is not None
    assert figure.fitted
    assert figure.uncertainty_joules == figure.marginal_joules == pytest.approx(0.3, rel=0.01)


def test_without_a_meter_there_is_no_figure_rather_than_zero() -> None:
    mute = books()
    mute.on_sample(NoSample("no such device", 0.0, 0.0))
    mute.on_cpu(CpuInterval(0.0, 1.0, (("cat", 0.5),), 0.0))
    mute.on_started(1, "cat", "anna", 0.0)
    mute.on_sample(NoSample("no such device", 1.0, 0.0))
    assert mute.on_ended(1, 1.0, cpu_seconds=0.5) is None
    assert mute.on_ended(99, 1.0) is None


def test_a_gap_is_marked_and_filled_from_the_fit() -> None:
    kept = books()
    now = 0.0

    def step(cores: float, *, blind: bool = False) -> None:
        nonlocal now
        kept.on_cpu(CpuInterval(now, now + 0.1, (("llm", cores * 0.1),), 0.0))
        now += 0.1
        watts = IDLE + CORE * cores
        kept.on_sample(NoSample("EIO", now, now) if blind else power(watts, now))

    for number in range(20):
        kept.on_started(number, "llm", "anna", now)
        for _ in range(20):
            step(1.0)
        kept.on_ended(number, now, cpu_seconds=2.0, units=5)
    kept.on_started(50, "llm", "anna", now)
    for number in range(30):
        step(1.0, blind=5 <= number < 15)
    figure = kept.on_ended(50, now, cpu_seconds=3.0, units=7)
    assert figure is not None
    assert figure.fitted
    assert figure.gap_seconds == pytest.approx(1.1)
    assert figure.marginal_joules == pytest.approx(4.5, rel=0.05)
    assert kept.totals().gap_seconds == pytest.approx(1.1 + 0.1)  # and before the first sample


def test_each_power_mode_has_its_own_idle() -> None:
    baseline = IdleBaseline()
    for mode, watts in (("15W", 5.0), ("MAXN", 8.0)):
        baseline.on_mode(mode)
        for _ in range(30):
            baseline.on_quiet(watts, 1.0)
        assert baseline.watts == pytest.approx(watts)
    baseline.on_mode("15W")
    assert baseline.watts == pytest.approx(5.0)


def test_the_idle_is_frozen_while_busy_and_ages_slowly() -> None:
    baseline = IdleBaseline(3.0)
    assert (baseline.watts, baseline.measured) == (3.0, False)
    for _ in range(200):
        baseline.on_quiet(2.0, 1.0)
    baseline.on_busy(900.0, 100.0)
    assert baseline.watts == pytest.approx(2.0)
    for _ in range(100):
        baseline.on_quiet(3.0, 1.0)
    assert 2.0 < (baseline.watts or 0) < 2.9
    for _ in range(1000):
        baseline.on_quiet(3.0, 1.0)
    assert baseline.watts == pytest.approx(3.0, rel=0.01)


def test_an_outlier_does_not_move_the_idle() -> None:
    baseline = IdleBaseline()
    for number in range(50):
        baseline.on_quiet(40.0 if number % 10 == 0 else 4.0, 2.0)
    assert baseline.watts == pytest.approx(2.0)


def test_a_counter_that_was_silent_has_lost_nothing() -> None:
    curve = EnergyCurve()
    curve.on_sample(CounterSample(0.0, 0.0, 0.0))
    curve.on_sample(NoSample("EAGAIN", 1.0, 1.0))
    curve.on_sample(CounterSample(6.0, 2.0, 0.0))
    assert curve.between(0.0, 2.0).joules == 6.0
    assert curve.gap_seconds == 0


def test_a_counter_that_starts_again_makes_a_gap() -> None:
    curve = EnergyCurve()
    for joules, at in ((100.0, 0.0), (2.0, 1.0), (5.0, 2.0)):
        curve.on_sample(CounterSample(joules, at, 0.0))
    assert curve.gap_seconds == 1.0
    assert curve.joules == 3.0


def test_samples_far_apart_are_a_gap_and_never_a_straight_line() -> None:
    curve = EnergyCurve()
    curve.on_sample(power(5.0, 0.0))
    curve.on_sample(power(5.0, 60.0))
    assert (curve.joules, curve.gap_seconds) == (0.0, 60.0)


def test_the_fit_finds_both_prices() -> None:
    fit = ExpertFit()
    chance = random.Random(2)
    for _ in range(300):
        cpu, units = chance.uniform(0.1, 2.0), chance.randrange(1, 60)
        fit.on_request(cpu, units, 1.5 * cpu + 0.02 * units + chance.gauss(0, 0.05))
    assert fit.joules_per_cpu_second == pytest.approx(1.5, rel=0.02)
    assert fit.joules_per_unit == pytest.approx(0.02, rel=0.05)
    assert fit.sigma_joules == pytest.approx(0.05, rel=0.2)


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0, 1000), st.floats(-5, 100)), min_size=5, max_size=40
    )
)
def test_the_fit_never_pays_for_work(rows: list[tuple[float, float, float]]) -> None:
    fit = ExpertFit()
    for cpu, units, joules in rows:
        fit.on_request(cpu, units, joules)
    assert fit.joules_per_cpu_second >= 0
    assert fit.joules_per_unit >= 0
    guess = fit.predict(1.0, 1.0)
    assert guess is not None
    assert guess.joules >= 0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("power", "silence", "cpu", "start", "end", "mode")),
        st.integers(0, 5),
        st.floats(0.01, 3.0),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.floats(0.0, 5.0))
def test_every_joule_is_somewhere(events: list[tuple[str, int, float]], idle: float) -> None:
    kept = books(idle)
    now = 0.0
    reads = [0.0]
    samples: list[Sample] = []
    for kind, number, amount in events:
        now += amount / 10
        if kind in {"power", "silence"}:
            samples.append(power(amount * 3, now) if kind == "power" else NoSample("", now, now))
            kept.on_sample(samples[-1])
        elif kind == "cpu":
            spent = (("cat", amount / 20 * (number % 3)), ("llm", amount / 30))
            kept.on_cpu(CpuInterval(reads[-1], now, spent if number else (), amount / 15 * number))
            reads.append(now)
        else:
            live(kept, kind, number, now, amount)
    totals = kept.totals()
    parts = totals.request_joules + totals.resident_joules
    parts += totals.idle_joules + totals.other_joules
    assert parts == pytest.approx(totals.meter_joules, abs=1e-6, rel=1e-9)
    assert sum(totals.clients.values()) == pytest.approx(totals.request_joules, abs=1e-6)
    # Intervals are settled whole, once the samples reach beyond them.
    last = max((each.at_seconds for each in samples), default=0.0)
    until = max(each for each in reads if each <= last)
    assert totals.meter_joules == pytest.approx(integral(samples, until), abs=1e-6)


def live(kept: EnergyBooks, kind: str, number: int, now: float, amount: float) -> None:
    """Begin or end a request, or change the power mode."""
    if kind == "start":
        kept.on_started(number, ("cat", "llm")[number % 2], f"c{number}", now)
    elif kind == "end":
        figure = kept.on_ended(number, now, amount if number % 3 else None, number)
        assert figure is None or figure.marginal_joules >= 0
    else:
        kept.on_mode(str(number))


def integral(samples: list[Sample], until: float) -> float:
    """The trapezoids between neighbouring readings of power, up to a moment."""
    total = 0.0
    for one, two in pairwise(samples):
        if isinstance(one, PowerSample) and isinstance(two, PowerSample):
            part = min(two.at_seconds, until) - one.at_seconds
            seconds = two.at_seconds - one.at_seconds
            if part > 0 and seconds > 0:
                total += (one.watts + two.watts) / 2 * part
    return total


def test_the_price_of_another_release_is_learnt_anew() -> None:
    board = Board()
    board.run(100)
    for number in range(10):
        board.books.on_started(number, "cat", "anna", board.now)
        board.run(2, cat=1.0)
        board.books.on_ended(number, board.now, cpu_seconds=0.2, units=1)
        board.run(1)
    guess = board.books.predict("cat")
    assert guess is not None
    assert guess.joules == pytest.approx(0.3, rel=0.02)
    board.books.on_replaced("cat")
    assert board.books.predict("cat") is None


def test_settled_intervals_are_handed_on_once_and_gaps_as_none() -> None:
    kept = books()
    kept.on_sample(power(4.0, 0.0))
    kept.on_cpu(CpuInterval(0.0, 1.0, (("cat", 1.0),), 0.0))
    assert kept.take_metered() == []
    kept.on_sample(power(4.0, 1.0))
    kept.on_cpu(CpuInterval(1.0, 2.0, (), 0.0))
    kept.on_sample(NoSample("EIO", 2.0, 2.0))
    assert [each.joules for each in kept.take_metered()] == [4.0, None]
    assert kept.take_metered() == []
