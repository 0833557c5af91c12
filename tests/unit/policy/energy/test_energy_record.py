"""What the energy books keep over a restart, and what they make of it."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.energy import CpuInterval
from aiosd.domain.energy_record import EnergyRecord
from aiosd.domain.power import CounterSample, EnergySource, Scope
from aiosd.policy.energy.energy import EnergyBooks
from aiosd.policy.energy.energy_fit import ExpertFit
from aiosd.policy.energy.idle_baseline import IdleBaseline

IDLE, CORE = 2.0, 1.5
PACKAGES = {"llm": "3 abc", "cat": "1 def"}


def worked(*, requests: int = 12) -> EnergyBooks:
    """Books of some minutes: quiet, then requests of two experts and two clients."""
    books = EnergyBooks(EnergySource.CALIBRATED_MODEL, Scope.BOARD, None)
    counter = now = 0.0
    books.on_sample(CounterSample(counter, now, 0.1))

    def step(**cores: float) -> None:
        nonlocal counter, now
        counter += 0.1 * (IDLE + CORE * sum(cores.values()))
        spent = tuple((name, 0.1 * share) for name, share in cores.items())
        books.on_cpu(CpuInterval(now, now + 0.1, spent, 0.0))
        now += 0.1
        books.on_sample(CounterSample(counter, now, 0.1))

    books.on_mode("MAXN")
    for _ in range(100):
        step()
    for number in range(requests):
        name, client = (("llm", "anna"), ("cat", "ben"))[number % 2]
        books.on_started(number, name, client, now)
        for _ in range(1 + number % 3):
            step(**{name: 2.0})
        cpu = 0.2 * (1 + number % 3)
        books.on_ended(number, now, cpu_seconds=cpu, units=cpu)
        step()
    return books


def kept(books: EnergyBooks, packages: dict[str, str] = PACKAGES) -> EnergyRecord:
    """What comes back from a file."""
    record = books.record("raspberry-pi-4", "a meter", 1.0, packages)
    return msgspec.json.decode(msgspec.json.encode(record), type=EnergyRecord)


def again(record: EnergyRecord, packages: dict[str, str] = PACKAGES) -> EnergyBooks:
    books = EnergyBooks(EnergySource.CALIBRATED_MODEL, Scope.BOARD, None)
    books.restore(record, packages)
    return books


def test_totals_prices_and_idle_are_the_same_after_a_restart() -> None:
    before = worked()
    after = again(kept(before))
    after.on_mode("MAXN")
    told, now = before.totals(), after.totals()
    assert now.experts == told.experts
    assert (now.meter_joules, now.idle_joules, now.other_joules, now.gap_seconds) == (
        told.meter_joules,
        told.idle_joules,
        told.other_joules,
        told.gap_seconds,
    )
    # Connections have no name after a restart, their joules stay.
    assert now.clients == {"(before the restart)": pytest.approx(sum(told.clients.values()))}
    assert told.clients.keys() == {"anna", "ben"}
    assert after.idle_watts == pytest.approx(IDLE)
    for name in PACKAGES:
        assert after.predict(name) == before.predict(name)
        assert after.predict(name) is not None


def test_the_first_request_after_a_restart_is_told_a_fitted_figure() -> None:
    after = again(kept(worked()))
    after.on_started(1, "llm", "anna", 0.0)
    figure = after.on_ended(1, 0.2, cpu_seconds=0.4, units=0.4)
    assert figure is not None
    assert figure.fitted
    assert figure.marginal_joules == pytest.approx(0.4 * CORE, rel=0.05)


def test_a_package_that_was_replaced_meanwhile_has_a_new_price_and_its_old_sums() -> None:
    after = again(kept(worked()), {"llm": "4 xyz", "cat": "1 def"})
    assert after.predict("llm") is None
    assert after.predict("cat") is not None
    assert after.totals().experts["llm"].requests == 6


def test_a_fit_of_an_expert_that_is_gone_is_not_kept() -> None:
    record = kept(worked(), {"cat": "1 def"})
    assert record.fits.keys() == {"cat"}
    assert record.experts.keys() == {"llm", "cat"}


def test_the_parts_still_add_up_to_the_meter_after_many_restarts() -> None:
    books = worked()
    for _ in range(5):
        books = again(kept(books))
        books.on_sample(CounterSample(0.0, 0.0, 0.1))
        books.on_cpu(CpuInterval(0.0, 1.0, (("llm", 1.0),), 0.5))
        books.on_sample(CounterSample(7.0, 1.0, 0.1))
    totals = books.totals()
    parts = sum(each.joules for each in totals.experts.values())
    assert totals.meter_joules == pytest.approx(
        parts + totals.idle_joules + totals.other_joules, rel=1e-6
    )


def test_an_endless_row_of_experts_is_kept_bounded_and_no_joule_is_lost() -> None:
    books = EnergyBooks(EnergySource.CALIBRATED_MODEL, Scope.BOARD, IDLE)
    books.on_sample(CounterSample(0.0, 0.0, 0.1))
    for n in range(600):
        books.on_cpu(CpuInterval(n, n + 1, ((f"expert-{n}", 1.0),), 0.0))
        books.on_sample(CounterSample(3.5 * (n + 1), n + 1, 0.1))
    record = kept(books)
    assert len(record.experts) == 256
    parts = sum(each.request_joules + each.resident_joules for each in record.experts.values())
    assert record.meter_joules == pytest.approx(
        parts + record.idle_joules + record.other_joules, rel=1e-6
    )
    assert len(msgspec.json.encode(record)) < 100_000


def test_an_idle_that_was_kept_gives_way_to_what_is_measured_today() -> None:
    before = IdleBaseline()
    before.on_mode("7W")
    for _ in range(10):
        before.on_quiet(2.0 * 2.5, 2.0)
    after = IdleBaseline(9.0)
    after.restore(before.record())
    assert after.watts == 9.0
    after.on_mode("7W")
    assert after.watts == pytest.approx(2.5)
    assert after.measured
    for _ in range(3):
        after.on_quiet(2.0 * 3.0, 2.0)
    assert after.watts == pytest.approx(3.0)


requests = st.lists(
    st.tuples(st.floats(0, 10), st.floats(0, 100), st.floats(-1, 50)), min_size=0, max_size=40
)


@given(requests=requests)
def test_a_fit_that_was_kept_is_the_fit_that_was(
    requests: list[tuple[float, float, float]],
) -> None:
    before = ExpertFit()
    for each in requests:
        before.on_request(*each)
    text = msgspec.json.encode(before.record("1"))
    record = msgspec.json.decode(text, type=type(before.record("1")))
    after = ExpertFit.of(record)
    assert after.predict() == before.predict()
    after.on_request(1.0, 2.0, 3.0)
    before.on_request(1.0, 2.0, 3.0)
    assert after.predict(0.5, 1.0) == before.predict(0.5, 1.0)
    assert math.isfinite(after.sigma_joules)
