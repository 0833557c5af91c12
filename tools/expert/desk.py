"""The steps of `keys`: what each key holder does at a desk, one after the other."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import Key, Signer

from tools.expert import ceremony
from tools.expert.faults import PublisherError
from tools.expert.keyfile import ask, make_key, read_public
from tools.expert.repository import PREFIX, Days, Repository

Signers = Callable[[argparse.Namespace], tuple[list[Signer], Signer | None]]
KINDS = ("root", "targets", "online")
OK = 0


def add_steps(
    steps: "argparse._SubParsersAction[argparse.ArgumentParser]", signers: Signers
) -> None:
    """Add the arguments of every step; `signers` opens the keys that an order names."""
    desk = Desk(signers)
    made = _step(steps, "new", desk.new, "make a key pair: FILE and FILE.pub", repo=False)
    made.add_argument("file", type=Path, metavar="FILE")
    made.add_argument(
        "--open", action="store_true", help="without a passphrase: for a machine that signs alone"
    )
    begun = _step(steps, "init", desk.init, "draft the first root of a repository")
    turned = _step(steps, "rotate", desk.rotate, "draft the next root, with other keys")
    for each in (begun, turned):
        for kind in KINDS:
            each.add_argument(
                f"--{kind}", type=Path, action="append", default=[], metavar="PUB",
                help=f"a public key of {kind} (repeatable)",
            )  # fmt: skip
    begun.add_argument("--threshold", type=int, default=2, help="root keys that must sign (2)")
    turned.add_argument("--threshold", type=int, default=0, help="likewise (as it is)")
    signed = _step(steps, "sign", desk.sign, "sign the root that waits")
    renewed = _step(steps, "renew", desk.renew, "sign targets, or a publisher's, for 90 days more")
    renewed.add_argument("--publisher", default="", metavar="NAME")
    given = _step(steps, "delegate", desk.delegate, "let a publisher speak for experts")
    given.add_argument("publisher", metavar="PUBLISHER")
    given.add_argument("--expert", dest="experts", action="append", default=[], metavar="NAME")
    given.add_argument(
        "--publisher-key", dest="given", type=Path, action="append", default=[], metavar="PUB"
    )
    for each in (signed, renewed, given):
        each.add_argument(
            "--key", dest="keys", type=Path, action="append", required=True, metavar="FILE"
        )
    for each in (renewed, given):
        each.add_argument("--online-key", type=Path, metavar="FILE", help="refresh as well")
    fresh = _step(steps, "refresh", desk.refresh, "renew snapshot and timestamp (daily)")
    fresh.add_argument("--online-key", type=Path, required=True, metavar="FILE")
    fresh.add_argument("--snapshot-days", type=int, default=Days.snapshot, metavar="N")
    fresh.add_argument("--timestamp-days", type=int, default=Days.timestamp, metavar="N")
    _step(steps, "show", desk.show, "list who may sign what, and until when")


def _step(
    steps: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *,
    repo: bool = True,
) -> argparse.ArgumentParser:
    parser = steps.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
    if repo:
        parser.add_argument("repo", type=Path, metavar="REPO")
    parser.set_defaults(command=command)
    return parser


class Desk:
    """Carries out one step."""

    def __init__(self, signers: Signers) -> None:
        """Take what opens keys."""
        self._signers = signers

    def new(self, options: argparse.Namespace) -> int:
        """Make a key pair."""
        passphrase = "" if options.open else ask(options.file)
        if not options.open and not passphrase:
            raise PublisherError("an empty passphrase protects nothing; or say so: --open")
        key = make_key(options.file, passphrase)
        print(f"made {options.file} (keep it) and {options.file}.pub (hand it on)")
        print(f"key id {key.keyid}")
        return OK

    def init(self, options: argparse.Namespace) -> int:
        """Draft the first root."""
        keys = _public(options)
        missing = [kind for kind in KINDS if not keys[kind]]
        if missing:
            raise PublisherError(f"name the public keys of {', '.join(missing)}")
        draft = ceremony.begin(Repository(options.repo), keys, options.threshold, _now())
        print(f"drafted {draft}; {options.threshold} holders of root keys sign it: keys sign")
        return OK

    def rotate(self, options: argparse.Namespace) -> int:
        """Draft the next root."""
        draft = ceremony.rotate(
            Repository(options.repo), _public(options), options.threshold, _now()
        )
        print(f"drafted {draft}; holders of old and of new root keys sign it: keys sign")
        return OK

    def sign(self, options: argparse.Namespace) -> int:
        """Sign the root that waits."""
        repository = Repository(options.repo)
        for signer in self._signers(options)[0]:
            version, lacking = ceremony.sign_draft(repository, signer)
            if lacking:
                print(f"root {version} is signed by {', by '.join(lacking)}")
            else:
                print(f"root {version} is complete and in place")
        return OK

    def renew(self, options: argparse.Namespace) -> int:
        """Renew targets, or a publisher's."""
        repository = Repository(options.repo)
        signers, online = self._signers(options)
        if options.publisher:
            role = f"{PREFIX}{options.publisher}"
            held = repository.read(role).signed
            held.version += 1
            held.expires = repository.late(_now(), repository.days.publisher)
            repository.sign(role, held, signers)
            print(f"{role} {held.version} is good until {held.expires:%Y-%m-%d}")
        else:
            version = ceremony.renew_targets(repository, signers, _now())
            print(f"targets {version} is in place")
        if online is not None:
            repository.refresh(online, _now())
        return OK

    def delegate(self, options: argparse.Namespace) -> int:
        """Let a publisher speak for experts."""
        repository = Repository(options.repo)
        signers, online = self._signers(options)
        keys = [read_public(path) for path in options.given]
        order = ceremony.Grant(options.publisher, options.experts, keys)
        role = ceremony.delegate(repository, order, signers, _now())
        print(f"{role} speaks for {', '.join(repository.publishers()[role])}")
        if online is not None:
            repository.refresh(online, _now())
        return OK

    def refresh(self, options: argparse.Namespace) -> int:
        """Renew snapshot and timestamp."""
        days = Days(snapshot=options.snapshot_days, timestamp=options.timestamp_days)
        repository = Repository(options.repo, days)
        _, online = self._signers(options)
        if online is not None:
            print(f"snapshot {repository.refresh(online, _now())}")
        return OK

    def show(self, options: argparse.Namespace) -> int:
        """List roles, their keys, and until when they are good."""
        repository = Repository(options.repo)
        root = repository.root()
        for role in ceremony.TOP:
            held = root.roles[role]
            _show_role(repository, role, held.threshold, held.keyids)
        targets = repository.targets() if repository.version("targets") else None
        delegations = targets.delegations if targets else None
        for name, given in ((delegations.roles or {}) if delegations else {}).items():
            _show_role(repository, name, given.threshold, given.keyids)
            print(f"    speaks for {', '.join(repository.publishers()[name])}")
        for draft in repository.drafts.glob("*.root.json"):
            print(f"{draft} waits for signatures")
        return OK


def _show_role(repository: Repository, role: str, threshold: int, keyids: list[str]) -> None:
    """Print one role."""
    try:
        held = repository.read(role).signed
        state = f"version {held.version}, good until {held.expires:%Y-%m-%d %H:%M}"
    except PublisherError:
        state = "nothing signed yet"
    print(f"{role}: {threshold} of {len(keyids)} keys; {state}")
    for keyid in keyids:
        print(f"    {keyid}")


def _public(options: argparse.Namespace) -> dict[str, list[Key]]:
    return {kind: [read_public(path) for path in getattr(options, kind)] for kind in KINDS}


def _now() -> datetime:
    return datetime.now(UTC)
