"""`python -m aiosd.fitter`: lessons in, the router's text head out, both by open descriptors.

Started by the daemon, and by aiosctl to foresee what a package would change; never resident.
"""

import argparse
import os
import sys
from io import BytesIO

import msgspec

from aiosd.policy.routing.lessons import Lesson

# What the exit status says, beside 0.
NO_NUMPY = 3
NOTHING = 4
_NICE = 10


def main() -> int:
    """Fit a head; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="aiosd-fitter", description="Started by aiosd; not for people."
    )
    parser.add_argument("--lessons", type=int, required=True, metavar="FD")
    parser.add_argument("--head", type=int, required=True, metavar="FD")
    parser.add_argument("--pages", type=int, metavar="FD", help="what is kept from run to run")
    options = parser.parse_args()
    os.nice(_NICE)
    with os.fdopen(options.lessons, "rb") as source:
        source.seek(0)
        lessons = msgspec.msgpack.decode(source.read(), type=list[Lesson])
    try:
        from aiosd.fitter.fit import NothingError, fit  # noqa: PLC0415 - NumPy may be missing
        from aiosd.fitter.pages import read_pages, write_pages  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        print(f"text routing is off: {error}", file=sys.stderr)  # noqa: T201 - the log
        return NO_NUMPY
    with os.fdopen(options.pages, "r+b") if options.pages else BytesIO() as book:
        kept = read_pages(book)
        known = kept.keys() | set()
        try:
            data = fit(lessons, kept=kept)
        except NothingError:
            return NOTHING
        with os.fdopen(options.head, "wb") as target:
            target.write(data)
        if kept.keys() != known:
            write_pages(book, kept)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
