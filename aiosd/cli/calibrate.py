"""`aiosctl calibrate`: its arguments, and the way to the work behind it."""

import argparse
from pathlib import Path

from aiosd.cli.failure import Exit
from aiosd.cli.render import Paper
from aiosd.client import Client

_CLOCKS = 3
_SETTLE_SECONDS = 10.0


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--readings", type=Path, metavar="FILE", help="readings in CSV or TOML, and ask nothing"
    )
    parser.add_argument(
        "--meter", default="", metavar="NAME", help="what the watts are read from, to be kept"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=_SETTLE_SECONDS,
        metavar="S",
        help="let each load run for S seconds before its reading (10)",
    )
    parser.add_argument(
        "--clocks",
        type=int,
        default=_CLOCKS,
        metavar="N",
        help="measure at N clocks, where they can be set (3)",
    )
    parser.add_argument("--board", metavar="NAME", help="the profile (default: the daemon's)")
    parser.add_argument("--sysroot", type=Path, metavar="DIR", help="where /sys and /proc are")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the state file to write")


def calibrate(options: argparse.Namespace, client: Client, paper: Paper) -> Exit:
    """Take readings, fit, write, and let the daemon use it."""
    from aiosd.cli.calibration import calibrate as work  # noqa: PLC0415 -- as in main

    return work(options, client, paper)
