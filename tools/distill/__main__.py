"""The distillery's commands: run, check, methods, compare, week."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tools.distill.fault import DistillError

ASSETS = Path("../shared/assets")
OWN = {"aiosd", "tools"}
"""What is missing of these is a fault of ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return int(options.act(options))
    except DistillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OWN:
            raise
        print(
            f"the module {error.name} is missing here: pip install 'aiosd[distill]'",
            file=sys.stderr,
        )
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    whole = argparse.ArgumentParser(prog="python -m tools.distill", description=__doc__)
    verbs = whole.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser(
        "run", help="from a recipe to a package with its proof; goes on if ended"
    )
    run.add_argument("recipe", type=Path)
    run.add_argument("--out", type=Path, help="the run's folder (build/distill/NAME)")
    run.add_argument("--cache", type=Path, default=Path("build") / "distill" / "answers")
    run.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where language models learn: auto is a GPU if there is one",
    )
    run.set_defaults(act=_run)
    look = verbs.add_parser("check", help="only look at the recipe and its data")
    look.add_argument("recipe", type=Path)
    look.set_defaults(act=_check)
    days = verbs.add_parser("week", help="a SIMULATED week of escalations that teach")
    days.add_argument("--out", type=Path, default=Path("build") / "distill" / "week")
    days.set_defaults(act=_week)
    methods = verbs.add_parser("methods", help="what a recipe's method.names may say")
    methods.set_defaults(act=_methods)
    beside = verbs.add_parser("compare", help="two packages, or two runs, side by side")
    beside.add_argument("first", type=Path)
    beside.add_argument("second", type=Path)
    beside.add_argument("--recipe", type=Path, help="ask both about its held-out rows, too")
    beside.set_defaults(act=_compare)
    for each in (run, look, days, beside):
        each.add_argument(
            "--assets", type=Path, default=Path(os.environ.get("AIOSD_ASSETS", ASSETS))
        )
    return whole


def _run(options: argparse.Namespace) -> int:
    from tools.distill.pressing import Place, press  # noqa: PLC0415 - heavy

    out = options.out or Path("build") / "distill" / options.recipe.stem
    press(Place(options.recipe, options.assets, out, options.cache, options.device))
    print(f"the package: {out / 'package'}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from tools.distill.checks import check, hold  # noqa: PLC0415 - needs numpy
    from tools.distill.recipe import read_recipe  # noqa: PLC0415
    from tools.distill.sources import load  # noqa: PLC0415

    recipe = read_recipe(options.recipe)
    material = load(recipe, options.assets)
    for name in ("train", "transfer", "tuning", "held"):
        print(f"{name:<9} {len(getattr(material, name))} rows")
    findings = check(material)
    for finding in findings:
        print(finding.line())
    hold(findings, recipe.data.allow)
    return 0


def _week(options: argparse.Namespace) -> int:
    from tools.distill.week import week  # noqa: PLC0415 - heavy

    days = week(options.assets, options.out)
    print("\n".join(["SIMULATED week, FAKE teacher endpoint:", *(day.line for day in days)]))
    return 0


def _methods(_options: argparse.Namespace) -> int:
    from tools.distill.methods import METHODS  # noqa: PLC0415

    for name, method in METHODS.items():
        found = asdict(method)
        print(f"{name}\n  {found['does']}\n  source: {found['source']}")
        print(f"  for: {', '.join(method.students)}; by {method.by}\n")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from tools.distill.comparing import compare, compare_on  # noqa: PLC0415 - needs numpy

    print("\n".join(compare(options.first, options.second)))
    if options.recipe:
        from tools.distill.recipe import read_recipe  # noqa: PLC0415
        from tools.distill.series_beside import compare_series  # noqa: PLC0415
        from tools.distill.sources import load  # noqa: PLC0415

        recipe = read_recipe(options.recipe)
        if recipe.student.kind == "series":
            found = compare_series(options.first, options.second)
        else:
            found = compare_on(options.first, options.second, load(recipe, options.assets))
        print("\n".join(["", *found]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
