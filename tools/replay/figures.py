"""The figures that the policies are held to, each from replays with fixed seeds.

Every function returns plain numbers, so that tests, the command line and a file of results say the
same.
"""

import bisect
import statistics
from collections.abc import Callable, Sequence
from functools import lru_cache

from aiosd.policy.power.power_rules import PowerRules
from tools.replay.board import BoardSpec
from tools.replay.lru import LruScheduler, safe_count
from tools.replay.powered import Fixed, PoweredWorld, PowerRun
from tools.replay.traces import MB, Trace
from tools.replay.world import Count, facts_of, run, scheduler_of

SIXTY, FIVE = 60.0, 5.0
SLACK_SIXTY, SLACK_FIVE = 0.03, 0.15
_GRID_SECONDS = 0.5
PROFILE = {"idle_watts": 2.8, "load_watts": 9.7}

Figures = dict[str, float]


OTHERS = ("lru by count", "lru by bytes", "first come")


def loads_compared(
    trace: Trace, cap_bytes: int, seed: int, against: Sequence[str] = OTHERS
) -> dict[str, Count]:
    """Replay a trace under our policy and under others, at one cap."""
    facts = facts_of(trace.models)
    count = safe_count(facts, cap_bytes)
    others = {
        "lru by count": LruScheduler(facts, count=count, in_order=False),
        "lru by bytes": LruScheduler(facts, cap_bytes=cap_bytes, in_order=False),
        "first come": LruScheduler(facts, count=count, in_order=True),
    }
    made = {"ours": run(trace, scheduler_of(trace, cap_bytes), cap_bytes, seed)}
    return made | {name: run(trace, others[name], cap_bytes, seed) for name in against}


def ram_figures(trace: Trace, cap_bytes: int, seed: int) -> Figures:
    """Return how often our books, and the truth, were over the cap."""
    made = run(trace, scheduler_of(trace, cap_bytes), cap_bytes, seed)
    return {
        "books_over": made.books_over,
        "truth_over": made.truth_over,
        "loads": made.loads,
        "resumes": made.resumes,
    }


def load_figures(
    make: Callable[[int], Trace],
    cap_bytes: int,
    seeds: Sequence[int],
    against: Sequence[str] = OTHERS,
) -> dict[str, Figures]:
    """Return medians over seeds: load seconds and loads of each policy, and ours as a share."""
    runs = [loads_compared(make(seed), cap_bytes, seed, against) for seed in seeds]
    figures: dict[str, Figures] = {}
    for name in runs[0]:
        figures[name] = {
            "load_seconds": statistics.median(each[name].load_seconds for each in runs),
            "loads": statistics.median(each[name].loads for each in runs),
            "mean_wait": statistics.median(statistics.mean(each[name].waits) for each in runs),
            "ours_by_seconds": statistics.median(
                each["ours"].load_seconds / each[name].load_seconds for each in runs
            ),
            "ours_by_loads": statistics.median(
                each["ours"].loads / each[name].loads for each in runs
            ),
        }
    figures["ours"]["books_over"] = sum(each["ours"].books_over for each in runs)
    figures["ours"]["truth_over"] = sum(each["ours"].truth_over for each in runs)
    return figures


def worst_window(watts: Sequence[tuple[float, float]], end: float, seconds: float) -> float:
    """Return the greatest mean power over any window of that length, on a grid of half seconds."""
    times, joules = [0.0], [0.0]
    later = [at for at, _ in watts[1:]] + [end]
    for (at, power), until in zip(watts, later, strict=True):
        times.append(until)
        joules.append(joules[-1] + power * (until - at))

    def taken(moment: float) -> float:
        index = bisect.bisect_left(times, moment)
        if index == 0 or times[index] == moment:
            return joules[index]
        part = (moment - times[index - 1]) / (times[index] - times[index - 1])
        return joules[index - 1] + part * (joules[index] - joules[index - 1])

    steps = int((end - seconds) / _GRID_SECONDS)
    starts = (step * _GRID_SECONDS for step in range(max(steps, 1)))
    return max((taken(start + seconds) - taken(start)) / seconds for start in starts)


def power_run(
    trace: Trace, cap_watts: float, spec: BoardSpec, seed: int, cap_bytes: int = 512 * MB
) -> PowerRun:
    """Replay under the power governor, which is told the profile and not the board's truth."""
    rules = PowerRules(cap_watts=cap_watts, threads=spec.cores, **PROFILE)
    return PoweredWorld(trace, spec, rules, cap_bytes, seed).replay()


def power_figures(run: PowerRun, trace: Trace, cap_watts: float) -> Figures:
    """Return how the cap held: worst windows beyond it, and what was done."""
    return {
        "mean_watts": run.joules / trace.seconds,
        "over_60s": worst_window(run.watts, trace.seconds, SIXTY) / cap_watts - 1,
        "over_5s": worst_window(run.watts, trace.seconds, FIVE) / cap_watts - 1,
        "work_seconds": run.count.work,
        "answered": run.count.answered,
        "refused": run.count.refused,
        "thread_changes": sum(
            one.threads != two.threads
            for (_, one), (_, two) in zip(run.allowances, run.allowances[1:], strict=False)
        ),
    }


def best_fixed(
    trace: Trace, cap_watts: float, spec: BoardSpec, seed: int, duties: Sequence[float]
) -> tuple[Fixed, float]:
    """Return the fixed setting that holds the same cap and does most work, and that work."""
    best, work = Fixed(1, 0.1), 0.0
    for fixed, sixty, five, done in _fixed_runs(trace, spec, seed, tuple(duties)):
        holds = sixty <= cap_watts * (1 + SLACK_SIXTY) and five <= cap_watts * (1 + SLACK_FIVE)
        if holds and done > work:
            best, work = fixed, done
    return best, work


@lru_cache(maxsize=4)
def _fixed_runs(
    trace: Trace, spec: BoardSpec, seed: int, duties: tuple[float, ...]
) -> list[tuple[Fixed, float, float, float]]:
    """Return each fixed setting with its worst minute, its worst five seconds, and its work."""
    runs = []
    for threads in range(1, spec.cores + 1):
        for duty in duties:
            fixed = Fixed(threads, duty)
            made = PoweredWorld(trace, spec, fixed, 512 * MB, seed).replay(tick=10.0, meter=10.0)
            sixty = worst_window(made.watts, trace.seconds, SIXTY)
            five = worst_window(made.watts, trace.seconds, FIVE)
            runs.append((fixed, sixty, five, made.count.work))
    return runs


def energy_figures(run: PowerRun) -> Figures:
    """Return how true the energy books are: the identity, the meter, and each request's figure."""
    totals = run.totals
    if totals is None:
        return {}
    parts = totals.request_joules + totals.resident_joules
    parts += totals.idle_joules + totals.other_joules
    told = sum(figure.marginal_joules for figure, _ in run.figures)
    true = sum(truth for _, truth in run.figures)
    errors = [
        abs(figure.marginal_joules - truth) / truth for figure, truth in run.figures if truth > 0
    ]
    within = [
        abs(figure.marginal_joules - truth) <= 2 * figure.uncertainty_joules
        for figure, truth in run.figures
    ]
    return {
        "identity_error": parts / totals.meter_joules - 1 if totals.meter_joules else 0.0,
        "meter_against_truth": totals.meter_joules / run.joules - 1,
        "told_against_books": told / totals.request_joules - 1 if totals.request_joules else 0.0,
        "told_against_truth": told / true - 1 if true else 0.0,
        "median_request_error": statistics.median(errors) if errors else 0.0,
        "within_two_sigma": statistics.mean(within) if within else 0.0,
        "fitted_share": statistics.mean(each.fitted for each, _ in run.figures)
        if run.figures
        else 0.0,
        "idle_watts": totals.idle_watts or 0.0,
    }


def battery_day(
    trace: Trace, seed: int, *, watt_hours: float, known: bool, clock: float = 1.0
) -> tuple[PowerRun, Figures]:
    """Replay a day on a battery; return what is left of it. `known`: the owner said its size.

    The governor is asked, and an idle board's meter read, every `clock` seconds.
    """
    reserve = 0.2
    joules = watt_hours * 3600
    spec = BoardSpec(battery_joules=joules)
    rules = PowerRules(reserve_share=reserve, battery_joules=joules if known else None, **PROFILE)
    made = PoweredWorld(trace, spec, rules, 512 * MB, seed).replay(tick=clock, meter=clock / 2)
    return made, {
        "share_left": made.share[-1][1],
        "reserve": reserve,
        "asked": made.count.asked,
        "answered": made.count.answered,
        "refused": made.count.refused,
        "mean_watts": made.joules / trace.seconds,
    }
