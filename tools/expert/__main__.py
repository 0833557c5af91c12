"""The publisher's command line: `python -m tools.expert new | check | test | pack | publish …`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aiosd.domain.errors import PackageError
from tools.demo.private_daemon import DaemonError
from tools.expert import lint, template, trial
from tools.expert.faults import PublisherError
from tools.expert.pack import Terms, pack

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from aiosd.domain.release import Release
    from tools.expert.publish import Shelf

OK, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0: done, 1: the package or the repository says no, 2: the command line."""
    options = make_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (PublisherError, PackageError, DaemonError) as error:
        print(f"expert: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"expert: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return FAILED
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the tree of arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.expert",
        description="Make, check, sign and publish expert packages. See docs/publishing.md.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_source(verbs)
    _add_release(verbs)
    _add_keys(verbs)
    return parser


Verbs = argparse._SubParsersAction  # noqa: SLF001 -- argparse gives it no public name


def _verb(
    verbs: "Verbs[argparse.ArgumentParser]", name: str, command: object, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _add_source(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    new = _verb(verbs, "new", _new, "write a new package to fill in")
    new.add_argument("folder", type=Path, metavar="FOLDER", help="its last part is the name")
    new.add_argument("--task", default="text.classify", help="such as text.classify, or echo")
    new.add_argument("--model", type=Path, metavar="FILE", help="a .gguf or .tflite file to copy")
    new.add_argument("--licence", default="Apache-2.0", help="an SPDX identifier (%(default)s)")
    checked = _verb(verbs, "check", _check, "look for what is wrong with a package")
    checked.add_argument("folder", type=Path, metavar="FOLDER")
    checked.add_argument("--fix", action="store_true", help="write sizes and digests of its files")
    checked.add_argument("--json", action="store_true", help="print the findings as JSON")
    tested = _verb(verbs, "test", _test, "run the self-tests in a real worker on this machine")
    tested.add_argument("folder", type=Path, metavar="FOLDER")
    tested.add_argument(
        "--with", dest="others", type=Path, action="append", default=[], metavar="FOLDER",
        help="a package that it needs, such as its base (repeatable)",
    )  # fmt: skip
    tested.add_argument("--json", action="store_true", help="print the outcome as JSON")
    packed = _verb(verbs, "pack", _pack, "make the manifest and the blobs of a release")
    packed.add_argument("folder", type=Path, metavar="FOLDER")
    packed.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they go")
    packed.add_argument(
        "--like", type=Path, metavar="DIR",
        help="the packed release before: chunks of its size are found on boards that have it",
    )  # fmt: skip
    packed.add_argument(
        "--parts", choices=("auto", "always", "never"), default="auto",
        help="publish a GGUF model in parts, of which boards write those that changed "
        "(auto: from 8 MiB on)",
    )  # fmt: skip
    packed.add_argument("--security-floor", type=int, default=0, metavar="N")
    packed.add_argument("--percent", type=int, default=100, metavar="P", help="share of all boards")
    packed.add_argument("--arch", action="append", default=[], help="such as aarch64 (repeatable)")
    packed.add_argument("--aiosd", default="", metavar="RANGE", help="such as '>=0.1'")
    packed.add_argument("--power-watts", type=float, default=0.0, metavar="W")


def _add_release(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    up = _verb(verbs, "publish", _publish, "sign a packed release and put it into a repository")
    up.add_argument("packed", type=Path, metavar="DIR", help="what `pack` wrote")
    up.add_argument("repo", type=Path, metavar="REPO")
    up.add_argument("--channel", default="canary", help="who takes it (%(default)s)")
    _add_percent(up)
    on = _verb(
        verbs, "promote", _promote, "let boards of another channel, or more of them, take it"
    )
    on.add_argument("repo", type=Path, metavar="REPO")
    on.add_argument("expert", metavar="EXPERT")
    on.add_argument("release", type=int, metavar="RELEASE")
    on.add_argument("--channel", default="stable", help="who else takes it (%(default)s)")
    _add_percent(on)
    back = _verb(verbs, "revoke", _revoke, "take a release back, and raise the security floor")
    back.add_argument("repo", type=Path, metavar="REPO")
    back.add_argument("expert", metavar="EXPERT")
    back.add_argument("release", type=int, metavar="RELEASE")
    for each in (up, on, back):
        _add_signers(each, "the publisher's key")


def _add_percent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--percent", type=int, metavar="P", help="share of the boards (as the manifest says)"
    )


def _add_signers(parser: argparse.ArgumentParser, whose: str) -> None:
    parser.add_argument(
        "--key", dest="keys", type=Path, action="append", required=True, metavar="FILE",
        help=f"{whose} (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--online-key", type=Path, metavar="FILE",
        help="renew snapshot and timestamp too; else somebody does: keys refresh",
    )  # fmt: skip


def _add_keys(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    from tools.expert import desk  # noqa: PLC0415 -- needs tuf, which `new` and `check` do not

    keys = verbs.add_parser("keys", help="make keys, and say whose word is good for what")
    steps = keys.add_subparsers(title="steps", metavar="STEP", required=True)
    desk.add_steps(steps, _signers_from)


def _new(options: argparse.Namespace) -> int:
    names = template.make(
        options.folder, options.task, model=options.model, licence=options.licence
    )
    print(f"made {options.folder}: {', '.join(names)}")
    print(f"fill in expert.toml, then: python -m tools.expert check {options.folder}")
    return OK


def _check(options: argparse.Namespace) -> int:
    for line in lint.fix(options.folder) if options.fix else []:
        print(f"fixed: {line}", file=sys.stderr if options.json else sys.stdout)
    found = lint.check(options.folder)
    errors = sum(each.level == "error" for each in found)
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        for each in found:
            print(each)
        print(f"{errors} errors, {len(found) - errors} warnings")
    return FAILED if errors else OK


def _test(options: argparse.Namespace) -> int:
    found = trial.run(options.folder, *options.others)
    if options.json:
        print(json.dumps({**asdict(found), "passed": found.passed}))
        return OK if found.passed else FAILED
    for each in found.outcomes:
        verdict = f"failed: {'; '.join(each.wrong)}" if each.wrong else "passed"
        print(f"case {each.number}: {each.milliseconds:.1f} ms, {verdict}")
    right = sum(not each.wrong for each in found.outcomes)
    print(f"{right} of {len(found.outcomes)} passed, {found.pass_mark:.0%} must")
    if found.ram_bytes:
        print(f"the worker held {found.ram_bytes} bytes; in expert.toml, a little above:")
        print(f"  [needs]\n  ram_bytes = {-(-found.ram_bytes // 100_000) * 100_000}")
    return OK if found.passed else FAILED


def _pack(options: argparse.Namespace) -> int:
    terms = Terms(
        security_floor=options.security_floor,
        percent=options.percent,
        arch=tuple(options.arch),
        aiosd=options.aiosd,
        power_watts=options.power_watts,
        like=options.like,
        parts=options.parts,
    )
    # The same source packs to the same bytes where this is set (reproducible-builds.org).
    now = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    facts = pack(options.folder, options.out, terms, now)
    print(
        f"packed {facts['name']} release {facts['release']}: {facts['files']} files, "
        f"{facts['size_bytes']} bytes, manifest {facts['manifest_bytes']} bytes, in {options.out}"
    )
    print(f"try it here: aiosctl install {options.out}")
    return OK


def _publish(options: argparse.Namespace) -> int:
    from aiosd.protocol.release_json import NAME, decode_release  # noqa: PLC0415 -- as above
    from tools.expert.publish import publish  # noqa: PLC0415

    name = decode_release((options.packed / NAME).read_bytes(), path=str(options.packed)).name
    shelf, _ = _shelf(options, name)
    release = publish(shelf, options.packed, channel=options.channel, percent=options.percent)
    shelf.sign(*_signers_from(options))
    return _told("published", options, release)


def _promote(options: argparse.Namespace) -> int:
    from tools.expert.publish import promote  # noqa: PLC0415

    shelf, _ = _shelf(options, options.expert)
    release = promote(shelf, options.release, channel=options.channel, percent=options.percent)
    shelf.sign(*_signers_from(options))
    return _told("promoted", options, release)


def _revoke(options: argparse.Namespace) -> int:
    from tools.expert.publish import revoke  # noqa: PLC0415

    shelf, now = _shelf(options, options.expert)
    instead = revoke(shelf, options.release, created=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    shelf.sign(*_signers_from(options))
    print(f"revoked {options.expert} release {options.release} and all before it")
    return _told("instead boards take", options, instead)


def _shelf(options: argparse.Namespace, expert: str) -> "tuple[Shelf, datetime]":
    from tools.expert.publish import Shelf  # noqa: PLC0415
    from tools.expert.repository import Repository  # noqa: PLC0415

    now = datetime.now(UTC)
    return Shelf(Repository(options.repo), expert, now), now


def _told(verb: str, options: argparse.Namespace, release: "Release") -> int:
    """Say what boards will see."""
    print(
        f"{verb} {release.name} release {release.release}, floor {release.security_floor}, "
        f"{release.rollout.percent} % of the boards"
    )
    if options.online_key is None:
        print("boards see it after: python -m tools.expert keys refresh REPO --online-key FILE")
    return OK


def _signers_from(options: argparse.Namespace) -> "tuple[list[Signer], Signer | None]":
    """Open the keys that were named; each passphrase is asked for once."""
    from tools.expert.keyfile import open_signer  # noqa: PLC0415

    named = list(getattr(options, "keys", None) or [])
    signers: list[Signer] = [open_signer(path) for path in named]
    online = getattr(options, "online_key", None)
    return signers, open_signer(online) if online else None


if __name__ == "__main__":
    raise SystemExit(main())
