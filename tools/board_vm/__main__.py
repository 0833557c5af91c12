"""`python -m tools.board_vm {build,run} DIR`: the daemon under systemd on an emulated arm64 board.

`build` puts together a Debian 12 for arm64 in DIR (needs root, and some 4 GB there): a system, a
kernel, aiosd installed as systemd/README.md says, with both engines. `run` starts it in QEMU, where
`on_board.py` goes through the units and prints a line a check; its exit status is 0 if all held.
Nothing in it says how fast a board is: every instruction is emulated.
"""

import argparse
import sys
from pathlib import Path

from tools.board_vm.boot import boot
from tools.board_vm.build import NeedError, build


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.board_vm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["build", "run"])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long a run may take (30)")
    given = parser.parse_args()
    try:
        if given.verb == "build":
            build(given.folder)
            return 0
        return boot(given.folder, given.minutes * 60)
    except NeedError as error:
        print(f"board_vm: {error}", file=sys.stderr)
        return 69


if __name__ == "__main__":
    sys.exit(main())
