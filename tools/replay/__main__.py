"""`python -m tools.replay`: replay a trace through the real policies in simulated time.

Everything here is simulated: workers, board and meter are models; only the policies are real.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiosd.policy.power.power_rules import PowerRules
from tools.replay import figures
from tools.replay.board import BoardSpec
from tools.replay.plots import draw
from tools.replay.powered import PoweredWorld, PowerRun
from tools.replay.traces import MB, TRACES, Trace, saturated, thrash, trace_of, zipf
from tools.replay.world import Count

LRU = ("lru by count", "lru by bytes")
POLICIES = ("ours", *figures.OTHERS)


def main(arguments: list[str] | None = None) -> int:
    """Replay, print the figures, and return 1 if `--check` finds one that is missed."""
    options = _options(arguments)
    if options.check:
        return _check(options.json)
    trace = trace_of(options.trace, options.seed)
    cap = options.ram * MB
    began = time.perf_counter()
    runs, power = _replay(trace, options, cap)
    found = _summary(trace, runs, power, cap)
    found["replay_seconds"] = round(time.perf_counter() - began, 2)
    _print(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(options.plot, f"{trace.name}, seed {options.seed}", runs, power, cap)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.replay", description=__doc__)
    parser.add_argument("--trace", default="zipf", help=f"{', '.join(TRACES)}, or a file")
    parser.add_argument("--policy", choices=[*POLICIES, "all", "power"], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ram", type=int, default=384, help="the RAM cap in MB")
    parser.add_argument("--watts", type=float, help="the watt cap, with --policy power")
    parser.add_argument("--bucket", type=float, help="joules an hour, with --policy power")
    parser.add_argument("--battery", type=float, default=0.0, help="watt hours of a battery")
    parser.add_argument("--meter", choices=["power", "counter", "none"], default="power")
    parser.add_argument("--plot", type=Path, help="write a PNG")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--check", action="store_true", help="hold all figures to their limits")
    return parser.parse_args(arguments)


def _replay(
    trace: Trace, options: argparse.Namespace, cap: int
) -> tuple[dict[str, Count], PowerRun | None]:
    """Run what was asked for."""
    if options.policy != "power":
        runs = figures.loads_compared(trace, cap, options.seed)
        chosen = POLICIES if options.policy == "all" else (options.policy,)
        return {name: runs[name] for name in chosen}, None
    rules = PowerRules(cap_watts=options.watts, bucket_joules=options.bucket, **figures.PROFILE)
    spec = BoardSpec(battery_joules=options.battery * 3600, meter=options.meter)
    meter = 0.1 if trace.seconds <= 7200 else 0.5
    power = PoweredWorld(trace, spec, rules, cap, options.seed).replay(meter=meter)
    return {"ours": power.count}, power


def _summary(
    trace: Trace, runs: dict[str, Count], power: PowerRun | None, cap: int
) -> dict[str, object]:
    """Return the figures of a replay."""
    found: dict[str, object] = {"trace": trace.name, "simulated": True, "ram_cap_bytes": cap}
    for name, count in runs.items():
        waits = sorted(count.waits) or [0.0]
        found[name] = {
            "asked": count.asked,
            "answered": count.answered,
            "refused": count.refused,
            "loads": count.loads,
            "load_seconds": round(count.load_seconds, 1),
            "resumes": count.resumes,
            "resume_seconds": round(count.resume_seconds, 1),
            "wait_p50": round(waits[len(waits) // 2], 3),
            "wait_p99": round(waits[len(waits) * 99 // 100], 3),
            "books_peak_bytes": count.books_peak,
            "books_over_cap": count.books_over,
        }
    if power:
        found["energy"] = figures.energy_figures(power)
        if power.cap_watts:
            found["power"] = figures.power_figures(power, trace, power.cap_watts)
        if power.share:
            found["share_left"] = power.share[-1][1]
    return found


def _print(found: dict[str, object]) -> None:
    """Print figures as a short table."""
    for name, value in found.items():
        if isinstance(value, dict):
            cells = (f"{key} {_number(each)}" for key, each in value.items())
            print(f"{name:>14}: {', '.join(cells)}")
        else:
            print(f"{name:>14}: {_number(value)}")


def _number(value: object) -> str:
    """Write a figure briefly."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# ── all figures at once ───────────────────────────────────────────────────────────────────────


def _check(path: Path | None) -> int:
    """Hold every figure to its limit; print each, and say which is missed."""
    rows: list[Row] = []
    for part in (_ram_rows, _load_rows, _power_rows, _energy_rows, _battery_rows):
        for row in part():
            name, value, limit, good = row
            print(f"{'ok    ' if good else 'MISSED'}  {name}: {value:.4g} ({limit})", flush=True)
            rows.append(row)
    missed = sum(not row[3] for row in rows)
    if path:
        table = [dict(zip(("name", "value", "limit", "reached"), row, strict=True)) for row in rows]
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


Row = tuple[str, float, str, bool]


def _at_most(name: str, value: float, limit: float) -> Row:
    return (name, value, f"at most {limit:g}", value <= limit)


def _at_least(name: str, value: float, limit: float) -> Row:
    return (name, value, f"at least {limit:g}", value >= limit)


def _ram_rows() -> list[Row]:
    """An hour of the adversary at 256 MB."""
    made = figures.ram_figures(TRACES["adversary"](1), 256 * MB, 1)
    return [
        _at_most(
            "adversary, 1 h, 256 MB: moments with the books over the cap", made["books_over"], 0
        ),
        _at_most("adversary, 1 h, 256 MB: moments with the truth over it", made["truth_over"], 0),
    ]


def _load_rows() -> list[Row]:
    """Load seconds and loads against the others."""
    rows: list[Row] = []
    for megabytes in (256, 384, 512):
        made = figures.load_figures(zipf, megabytes * MB, range(9), LRU)
        name = f"zipf, 12 experts, {megabytes} MB, 9 seeds: load time against LRU by"
        by_count = made["lru by count"]["ours_by_seconds"]
        rows.append(_at_most(f"{name} count", by_count, 0.7))
        by_bytes = made["lru by bytes"]["ours_by_seconds"]
        rows.append(_at_most(f"{name} bytes", by_bytes, 1.0))
    for parks in (False, True):
        what = "A B A B that can be parked" if parks else "A B A B"
        for every in (0.25, 0.5, 0.75):
            made = figures.load_figures(
                _thrash(every, parks=parks), 256 * MB, (1, 2, 3), ("first come",)
            )
            first = made["first come"]
            name = f"{what}, each {every} s:"
            rows.append(_at_most(f"{name} loads against first come", first["ours_by_loads"], 0.25))
            if parks:
                share = first["ours_by_seconds"]
                rows.append(_at_most(f"{name} load time against first come", share, 0.25))
    return rows


def _thrash(every: float, *, parks: bool) -> Callable[[int], Trace]:
    return lambda seed: thrash(seed, every=every, parks=parks)


def _power_rows() -> list[Row]:
    """The watt cap: windows, and the throughput against the best fixed setting."""
    rows: list[Row] = []
    duties = [step / 20 for step in range(2, 21)]
    for core, meter in ((1.725, "power"), (2.3, "power"), (1.3, "counter"), (1.725, "none")):
        spec = BoardSpec(core_watts=core, meter=meter)
        for cap in (5.0, 6.0, 8.0):
            trace = saturated(1, 300.0)
            run = figures.power_run(trace, cap, spec, 1)
            made = figures.power_figures(run, trace, cap)
            name = f"saturated, cap {cap:g} W, {core} W a core, meter {meter}:"
            rows.append(_at_most(f"{name} worst 60 s", made["over_60s"], figures.SLACK_SIXTY))
            rows.append(_at_most(f"{name} worst 5 s", made["over_5s"], figures.SLACK_FIVE))
            _, work = figures.best_fixed(trace, cap, spec, 1, duties)
            share = made["work_seconds"] / work
            rows.append(_at_least(f"{name} work against the best fixed", share, 0.9))
    for cap in (5.0, 6.0):
        trace = TRACES["bursts"](1)
        made = figures.power_figures(figures.power_run(trace, cap, BoardSpec(), 1), trace, cap)
        name = f"bursts, others busy, cap {cap:g} W:"
        rows.append(_at_most(f"{name} worst 60 s", made["over_60s"], figures.SLACK_SIXTY))
        rows.append(_at_most(f"{name} worst 5 s", made["over_5s"], figures.SLACK_FIVE))
    return rows


def _energy_rows() -> list[Row]:
    """The books, with a noisy meter of power and with a counter."""
    rows: list[Row] = []
    for meter in ("power", "counter"):
        trace = TRACES["bursts"](1)
        made = figures.energy_figures(figures.power_run(trace, 6.0, BoardSpec(meter=meter), 1))
        name = f"bursts, meter {meter}:"
        rows += [
            _at_most(
                f"{name} sum of the books against the meter", abs(made["identity_error"]), 0.01
            ),
            _at_most(
                f"{name} figures told against the books", abs(made["told_against_books"]), 0.02
            ),
            _at_most(
                f"{name} figures told against the truth", abs(made["told_against_truth"]), 0.05
            ),
            _at_most(f"{name} median error of a request", made["median_request_error"], 0.10),
            _at_least(f"{name} within two sigma", made["within_two_sigma"], 0.9),
        ]
    return rows


def _battery_rows() -> list[Row]:
    """A day on a battery that hardly lasts."""
    rows: list[Row] = []
    for known in (True, False):
        _, made = figures.battery_day(TRACES["day"](1), 1, watt_hours=88.0, known=known, clock=5.0)
        name = f"a day on 88 Wh, capacity {'known' if known else 'learnt'}:"
        rows.append(_at_least(f"{name} share left", made["share_left"], made["reserve"]))
        share = made["answered"] / made["asked"]
        rows.append(_at_least(f"{name} requests answered", share, 0.75))
    return rows


if __name__ == "__main__":
    sys.exit(main())
