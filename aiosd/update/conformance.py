"""The command line that tuf-conformance speaks to, in front of the very trust that updates use.

`python -m aiosd.update.conformance --metadata-dir DIR ... init|refresh|download`: see
docs/updates.md. Exit status 0 if all is well, else 1. It is for tests and never runs on a board.
"""

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path

from aiosd.domain.update import Fault, UpdateError
from aiosd.net.blob import origin_of
from aiosd.policy.rollout.download_pace import PaceRules
from aiosd.store.durable import make_folders, replace_file
from aiosd.store.ledger import Ledger
from aiosd.update.download import Clockwork
from aiosd.update.fetcher import Reader
from aiosd.update.trust import Session, Trust

_CLOCKWORK = Clockwork(time.monotonic, lambda _seconds: None)
_LARGEST = 100_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run one command, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "init":
            return _init(options)
        return _with_session(options)
    except (UpdateError, OSError) as error:
        print(f"aiosd conformance client: {error}", file=sys.stderr)  # noqa: T201 - its only words
        return 1


def _init(options: argparse.Namespace) -> int:
    """Take a root for trusted."""
    make_folders(options.metadata_dir)
    replace_file(options.metadata_dir / "root.json", options.trusted_root.read_bytes())
    return 0


def _with_session(options: argparse.Namespace) -> int:
    """Refresh, and download what is named."""
    folder: Path = options.metadata_dir
    bootstrap = (folder / "root.json").read_bytes()
    with closing(Ledger(folder / "ledger.db")) as ledger:
        # A suite moves the clock about, and has repositories that are older than this code.
        trust = Trust(folder, ledger, now=time.time, built=0.0)
        with closing(origin_of(options.metadata_url)) as origin:
            reader = Reader(origin, PaceRules(), _CLOCKWORK)
            with trust.open(reader, "", bootstrap) as session:
                if options.command == "download":
                    _download(options, session)
    return 0


def _download(options: argparse.Namespace, session: Session) -> None:
    """Download targets, each once.

    Raises:
        UpdateError: nobody vouches for one, or it does not come as it was signed for.
    """
    with closing(origin_of(options.target_base_url)) as origin:
        reader = Reader(origin, PaceRules(), _CLOCKWORK)
        for name in options.target_name:
            offer = session.find(name)
            if offer is None:
                raise UpdateError(Fault.UNKNOWN_TARGET, f"nobody vouches for {name!r}")
            place = options.target_dir / name.replace("%", "%25").replace("/", "%2F")
            if place.exists() and offer.fits(place.read_bytes()):
                continue
            data = reader.read(session.address(offer), min(offer.size, _LARGEST))
            offer.check(data)
            replace_file(place, data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aiosd.update.conformance")
    parser.add_argument("--metadata-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--metadata-url", metavar="URL")
    parser.add_argument("--target-name", action="append", default=[], metavar="PATH")
    parser.add_argument("--target-base-url", metavar="URL")
    parser.add_argument("--target-dir", type=Path, metavar="DIR")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
