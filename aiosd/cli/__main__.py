"""`python -m aiosd.cli` is aiosctl."""

import sys

from aiosd.cli.main import main as run_main


def main() -> None:
    """Run aiosctl and exit."""
    sys.exit(run_main())


if __name__ == "__main__":
    main()
