"""`python -m tools.torture`: kill boards and cut their power for as long as you like.

Three kinds: `points` fails once at every failpoint in every way; `kills` and `cuts` strike a board
at random again and again. Counts are kept in a file, so that a run may be interrupted and gone on
with; the exit status is 1 if anything was ever found broken.
"""

import argparse
import sys
import time
from pathlib import Path

from tools.torture.blows import Blows, memory_folder
from tools.torture.disk import NESTED, Disk, NoDiskError
from tools.torture.faults import CUT, WAYS, Faults
from tools.torture.points import names
from tools.torture.tally import Tally

KILLS, CUTS = 100_000, 10_000


def main() -> int:
    """Run what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="points|kills|cuts", default=[])
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many, in all ({KILLS})")
    parser.add_argument("--cuts", type=int, default=CUTS, help=f"how many, in all ({CUTS})")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--counts", type=Path, default=Path("torture.json"), help="what was done")
    parser.add_argument(
        "--disk", choices=("ext4", "xfs", NESTED), default="ext4", help="that is cut"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of chance")
    options = parser.parse_args()
    if unknown := set(options.kinds) - {"points", "kills", "cuts"}:
        parser.error(f"not points, kills or cuts: {', '.join(sorted(unknown))}")
    tally = Tally(options.counts)
    end = time.monotonic() + options.minutes * 60
    print(f"{len(names())} failpoints; seed {options.seed}; counts in {options.counts}")
    for kind in options.kinds or ("points", "kills", "cuts"):
        if kind == "points":
            _points(tally, options.disk)
        elif kind == "kills":
            with memory_folder() as folder:
                _strike(Blows(folder, tally, options.seed), options.kills, tally, end)
        else:
            _cuts(options, tally, end)
    tally.keep()
    print(tally.table())
    return 1 if tally.broken else 0


def _points(tally: Tally, disk_kind: str) -> None:
    """Fail at every point in every way."""
    with memory_folder() as folder:
        try:
            disk: Disk | None = Disk(disk_kind)
        except NoDiskError as error:
            print(f"no power cuts at points: {error}")
            disk = None
        try:
            faults = Faults(folder, tally, disk)
            for name in faults.missed:
                tally.broken.append(f"{name}: no scene reaches it")
            ways = [way for way in WAYS if way != CUT or disk is not None]
            faults.run(lambda _number, _name: ways)
        finally:
            if disk is not None:
                disk.close()


def _cuts(options: argparse.Namespace, tally: Tally, end: float) -> None:
    """Cut the power at random."""
    try:
        disk = Disk(options.disk)
    except NoDiskError as error:
        print(f"no power cuts: {error}")
        return
    with disk:
        _strike(Blows(disk.root, tally, options.seed, disk), options.cuts, tally, end)


def _strike(blows: Blows, count: int, tally: Tally, end: float) -> None:
    """Strike until it is enough; the first thing that is found broken ends it."""
    before = len(tally.broken)
    blows.run(count, lambda: time.monotonic() > end or len(tally.broken) > before)


if __name__ == "__main__":
    sys.exit(main())
