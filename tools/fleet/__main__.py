"""`python -m tools.fleet`: a thousand boards, one publisher and bad releases, in simulated time.

Boards, networks and requests are invented; the life of a release and the place of a board in a
rollout (`aiosd.policy.rollout`: `table`, `percentile`) are the real ones.
"""

import argparse
import json
import time
from pathlib import Path

from tools.fleet.plots import draw
from tools.fleet.publisher import Plan, Rollout
from tools.fleet.world import PLAY, Run, World

WAYS = {"with feedback": True, "boards alone": False}


def main(arguments: list[str] | None = None) -> int:
    """Play, print the figures, and draw."""
    options = _options(arguments)
    began = time.perf_counter()
    runs = {
        name: World(
            options.devices, options.seed, hears=hears, plan=Plan(hours=options.hours)
        ).play(PLAY, options.days)
        for name, hears in WAYS.items()
    }
    found = {name: figures(run, options.devices) for name, run in runs.items()}
    for name, each in found.items():
        _print(name, each)
    print(
        f"\n{options.devices} boards, {options.days:g} days, in {time.perf_counter() - began:.1f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(options.plot, f"{options.devices} boards, seed {options.seed}", runs)
    return 0


def figures(run: Run, devices: int) -> dict[str, object]:
    """Return what came out, as plain numbers."""
    end = run.samples[-1].active
    hours = [sample.sent_bytes / 3600 for sample in run.samples]
    return {
        "boards by release in the end": {str(number): end[number] for number in sorted(end)},
        "releases": [
            {
                "release": rollout.release,
                "tried by": run.tried[rollout.release],
                "quarantined by": run.failed[rollout.release],
                "reached %": max(
                    (sample.percent for sample in run.samples if _during(run, rollout, sample.at)),
                    default=0,
                ),
                "stopped after hours": None
                if rollout.stopped_at is None
                else round((rollout.stopped_at - rollout.began) / 3600, 1),
                "most boards on it": max(sample.active[rollout.release] for sample in run.samples),
            }
            for rollout in run.rollouts
        ],
        "requests that a canary failed, answered by the old release": run.tally.rescued_requests,
        "requests that a committed bad release failed": run.tally.failed_requests,
        "share of boards that ever served a bad release": round(
            max(sample.active[3] + sample.active[4] for sample in run.samples) / devices, 4
        ),
        "publisher": {
            "most polls a minute": run.most_polls_per_minute,
            "most bytes a second, mean over an hour": round(max(hours)),
            "bytes in all": sum(sample.sent_bytes for sample in run.samples),
        },
    }


def _during(run: Run, rollout: Rollout, at: float) -> bool:
    """Tell whether a release was the current one at a time."""
    place = run.rollouts.index(rollout)
    later = run.rollouts[place + 1].began if place + 1 < len(run.rollouts) else float("inf")
    return run.rollouts[place].began <= at < later


def _print(name: str, found: dict[str, object]) -> None:
    print(f"\n{name}")
    for key, value in found.items():
        if isinstance(value, list):
            for row in value:
                print("  " + ", ".join(f"{word} {fact}" for word, fact in row.items()))
        else:
            print(f"  {key}: {value}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.fleet", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--days", type=float, default=18.0)
    parser.add_argument("--hours", type=float, default=24.0, help="between two stages of a rollout")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
