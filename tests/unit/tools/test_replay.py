"""What the policies are held to, in simulated time with fixed seeds."""

import json
from pathlib import Path

import pytest

from tools.replay import figures
from tools.replay.__main__ import main
from tools.replay.board import BoardSpec
from tools.replay.powered import PoweredWorld
from tools.replay.traces import MB, adversary, bursts, day, read_trace, saturated, thrash, zipf


def test_an_adversary_never_brings_the_books_over_the_cap() -> None:
    made = figures.ram_figures(adversary(1, 600.0), 256 * MB, 1)
    assert made["books_over"] == 0
    assert made["truth_over"] == 0
    assert made["loads"] > 100
    assert made["resumes"] > 0


def test_popular_experts_cost_at_most_seven_tenths_of_the_loading_of_lru_by_count() -> None:
    made = figures.load_figures(
        lambda seed: zipf(seed, 1800.0), 384 * MB, range(5), figures.OTHERS[:2]
    )
    assert made["lru by count"]["ours_by_seconds"] <= 0.7
    assert made["lru by bytes"]["ours_by_seconds"] < 0.8


def test_a_b_a_b_loads_at_most_a_quarter_as_often_as_first_come() -> None:
    made = figures.load_figures(lambda seed: thrash(seed, 200.0), 256 * MB, (1, 2), ("first come",))
    assert made["first come"]["ours_by_loads"] <= 0.25
    assert made["ours"]["mean_wait"] < 4.0


def test_a_b_a_b_of_experts_that_can_be_parked_hardly_waits() -> None:
    """Only the context of one must go for the other: each loads once, and is resumed for good."""
    made = figures.load_figures(
        lambda seed: thrash(seed, 200.0, parks=True), 256 * MB, (1, 2), ("first come",)
    )
    assert made["ours"]["loads"] <= 4
    assert made["first come"]["ours_by_seconds"] <= 0.1
    assert made["ours"]["mean_wait"] < 0.5


@pytest.mark.parametrize(("core", "meter"), [(1.725, "power"), (2.3, "power"), (1.725, "none")])
def test_the_watt_cap_holds_and_costs_little_throughput(core: float, meter: str) -> None:
    trace, spec = saturated(1, 240.0), BoardSpec(core_watts=core, meter=meter)
    made = figures.power_figures(figures.power_run(trace, 6.0, spec, 1), trace, 6.0)
    assert made["over_60s"] <= 0.03
    assert made["over_5s"] <= 0.15
    _, work = figures.best_fixed(trace, 6.0, spec, 1, [step / 10 for step in range(1, 11)])
    assert made["work_seconds"] >= 0.9 * work
    assert made["thread_changes"] <= 4


def test_the_cap_holds_while_loads_and_others_come_and_go() -> None:
    trace = bursts(2, 900.0)
    made = figures.power_figures(figures.power_run(trace, 5.0, BoardSpec(), 2), trace, 5.0)
    assert made["over_60s"] <= 0.03
    assert made["over_5s"] <= 0.15
    assert made["answered"] > 1000


@pytest.mark.parametrize("meter", ["power", "counter"])
def test_the_energy_books_are_true(meter: str) -> None:
    trace = bursts(1, 900.0)
    made = figures.energy_figures(figures.power_run(trace, 6.0, BoardSpec(meter=meter), 1))
    assert abs(made["identity_error"]) < 1e-6
    assert abs(made["meter_against_truth"]) < 0.02
    assert abs(made["told_against_books"]) < 0.02
    assert abs(made["told_against_truth"]) < 0.05
    assert made["median_request_error"] < 0.1
    assert made["within_two_sigma"] > 0.9


def test_a_battery_day_ends_with_the_reserve_kept() -> None:
    # The idle alone takes 67.2 of the 70.4 Wh above the reserve.
    made = figures.battery_day(day(1, every=20.0), 1, watt_hours=88.0, known=True, clock=5)[1]
    assert made["share_left"] >= made["reserve"]
    assert made["answered"] > 0.5 * made["asked"]


def test_a_joule_bucket_bounds_what_an_hour_takes() -> None:
    trace = bursts(1, 900.0)
    rules = figures.PowerRules(bucket_joules=200.0, **figures.PROFILE)
    run = PoweredWorld(trace, BoardSpec(), rules, 384 * MB, 1).replay()
    assert run.totals is not None
    assert 150.0 < run.totals.request_joules < 230.0


def test_a_recorded_trace_is_replayed_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trace = tmp_path / "mine.jsonl"
    rows: list[dict[str, object]] = [
        {"expert": "cat", "bytes": 40 * MB, "need_bytes": 42 * MB, "load_seconds": 0.5},
        *({"at": float(at), "model": "cat"} for at in range(10)),
    ]
    trace.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    plot, found = tmp_path / "mine.png", tmp_path / "mine.json"
    arguments = ["--trace", str(trace), "--policy", "power", "--watts", "5"]
    assert main([*arguments, "--plot", str(plot), "--json", str(found)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    made = json.loads(found.read_text(encoding="utf-8"))
    assert (made["ours"]["answered"], made["ours"]["loads"], made["simulated"]) == (10, 1, True)


def test_a_trace_that_names_an_unknown_expert_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "mine.jsonl"
    trace.write_text('{"at": 1.0, "model": "dog"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="no line describes the expert 'dog'"):
        read_trace(trace)
