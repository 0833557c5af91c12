"""Keys for teaching material, and opening what was sealed to them; see docs/uplink.md."""

import argparse
import base64
import json
import os
import sys
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox


def main(arguments: list[str] | None = None) -> int:
    """Make a pair of keys, or open sealed lines; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.teaching", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    new = verbs.add_parser("new", help="make a pair of keys")
    new.add_argument("private", type=Path, help="stays at the distillery; is made with mode 0600")
    new.add_argument("public", type=Path, help="goes to the board, as keep_key_file")
    opened = verbs.add_parser("open", help="print sealed lines as plain ones")
    opened.add_argument("private", type=Path)
    opened.add_argument("material", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if options.verb == "new":
        return make_pair(options.private, options.public)
    return open_lines(options.private, options.material)


def make_pair(private: Path, public: Path) -> int:
    """Write a new pair of keys; an existing file is never written over."""
    key = PrivateKey.generate()
    for path, content, mode in (
        (private, bytes(key), 0o600),
        (public, bytes(key.public_key), 0o644),
    ):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(content) + b"\n")
    return 0


def open_lines(private: Path, material: list[Path]) -> int:
    """Print every line that this key opens, and say how many it does not."""
    box = SealedBox(PrivateKey(base64.b64decode(private.read_text(encoding="ascii"))))
    shut = 0
    for path in material:
        for line in path.read_text(encoding="utf-8").splitlines():
            sealed = json.loads(line).get("sealed")
            try:
                print(line if sealed is None else box.decrypt(base64.b64decode(sealed)).decode())
            except CryptoError:
                shut += 1
    if shut:
        print(f"{shut} lines are not for this key", file=sys.stderr)
    return 1 if shut else 0


if __name__ == "__main__":
    raise SystemExit(main())
