"""Keys come and go: the first root, its rotation, delegations; every root signed by old and new."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

from aiosd.protocol.release_json import NAME
from tools.expert.faults import PublisherError
from tools.expert.repository import PREFIX, Repository

TOP = ("root", "targets", "snapshot", "timestamp")


def begin(
    repository: Repository, keys: dict[str, list[Key]], threshold: int, now: datetime
) -> Path:
    """Draft the first root: `keys` are the public halves of root, targets and online.

    Raises:
        PublisherError: there is a root already, or fewer root keys than must sign.
    """
    if repository.version("root") or list(repository.drafts.glob("*.root.json")):
        raise PublisherError(f"{repository.folder}: there is a root already; see: keys rotate")
    root = Root(version=1, expires=repository.late(now, repository.days.root))
    _set_keys(root, keys, threshold)
    return _draft(repository, root)


def rotate(
    repository: Repository, keys: dict[str, list[Key]], threshold: int, now: datetime
) -> Path:
    """Draft the next root; roles that `keys` does not name keep theirs.

    Raises:
        PublisherError: a draft is waiting for signatures, or fewer root keys than must sign.
    """
    if list(repository.drafts.glob("*.root.json")):
        raise PublisherError(
            f"{repository.drafts}: a root waits for signatures: sign it or delete the file"
        )
    root = repository.root()
    root.version += 1
    root.expires = repository.late(now, repository.days.root)
    _set_keys(root, keys, threshold or root.roles["root"].threshold)
    return _draft(repository, root)


def _set_keys(root: Root, keys: dict[str, list[Key]], threshold: int) -> None:
    """Give roles their keys; the online key is that of snapshot and timestamp.

    Raises:
        PublisherError: fewer root keys than must sign.
    """
    for role in TOP:
        given = keys.get("online" if role in {"snapshot", "timestamp"} else role)
        if not given:
            continue
        for keyid in [*root.roles[role].keyids]:
            root.revoke_key(keyid, role)
        for key in given:
            root.add_key(key, role)
    root.roles["root"].threshold = threshold
    if len(root.roles["root"].keyids) < threshold:
        raise PublisherError(
            f"{threshold} root keys must sign, but only {len(root.roles['root'].keyids)} are named"
        )


def _draft(repository: Repository, root: Root) -> Path:
    path = repository.drafts / f"{root.version}.root.json"
    repository.write(path, Metadata(root).to_bytes())
    return path


def sign_draft(repository: Repository, signer: Signer) -> tuple[int, list[str]]:
    """Add a signature to the waiting root; once it has enough it is the root.

    Return its version, and what it still lacks (nothing: it was put in place).

    Raises:
        PublisherError: no root waits, or this key has no word in it.
    """
    waiting = sorted(repository.drafts.glob("*.root.json"))
    if not waiting:
        raise PublisherError(f"{repository.drafts}: no root waits for signatures; see: keys rotate")
    made: Metadata[Root] = Metadata[Root].from_bytes(waiting[0].read_bytes())
    root = made.signed
    previous = repository.root() if repository.version("root") else None
    mine = signer.public_key.keyid
    may = set(root.roles["root"].keyids) | set(previous.roles["root"].keyids if previous else ())
    if mine not in may:
        raise PublisherError("this key is neither of the old root nor of the new one")
    made.sign(signer, append=True)
    lacking: list[str] = []
    for who, judge in (("the new root's keys", root), ("the old root's keys", previous)):
        if judge is None:
            continue
        try:
            judge.verify_delegate("root", made.signed_bytes, made.signatures)
        except UnsignedMetadataError:
            held = judge.get_verification_result("root", made.signed_bytes, made.signatures)
            lacking.append(f"{len(held.signed)} of {held.threshold} of {who}")
    if lacking:
        repository.write(waiting[0], made.to_bytes())
    else:
        repository.write(repository.metadata / waiting[0].name, made.to_bytes())
        waiting[0].unlink()
    return root.version, lacking


def renew_targets(repository: Repository, signers: list[Signer], now: datetime) -> int:
    """Write the first or the next top targets, as they are; return the version.

    Raises:
        PublisherError: the keys are not those of targets.
    """
    targets = repository.targets() if repository.version("targets") else Targets()
    targets.version = repository.version("targets") + 1
    targets.expires = repository.late(now, repository.days.targets)
    repository.sign("targets", targets, signers)
    return targets.version


@dataclass(frozen=True)
class Grant:
    """Whom to let speak for which experts, with which keys."""

    publisher: str
    experts: list[str]
    keys: list[Key]


def delegate(repository: Repository, grant: Grant, signers: list[Signer], now: datetime) -> str:
    """Let a publisher's keys speak for experts, and for nothing else; return the role.

    What it was given before stays; new keys replace the old ones.

    Raises:
        PublisherError: another publisher speaks for one of them, or the keys are not those of
            targets.
    """
    role = f"{PREFIX}{grant.publisher}"
    given = repository.publishers()
    for other, names in given.items():
        taken = sorted(set(names) & set(grant.experts))
        if other != role and taken:
            raise PublisherError(f"{other} speaks for {', '.join(taken)} already")
    for name in [grant.publisher, *grant.experts]:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            raise PublisherError(f"{name!r} is no name: small letters, digits and hyphens")
    targets = repository.targets()
    delegations = targets.delegations or Delegations({}, {})
    roles = dict(delegations.roles or {})
    keyids = [key.keyid for key in grant.keys]
    if not keyids and role in roles:
        keyids = roles[role].keyids
    experts = sorted({*grant.experts, *given.get(role, [])})
    if not keyids or not experts:
        raise PublisherError(f"{role}: name its key (--publisher-key) and its experts (--expert)")
    paths = [f"experts/{name}/*/{NAME}" for name in experts]
    roles[role] = DelegatedRole(role, keyids, 1, terminating=True, paths=paths)
    known = {**delegations.keys, **{key.keyid: key for key in grant.keys}}
    used = {keyid for each in roles.values() for keyid in each.keyids}
    targets.delegations = Delegations(
        {keyid: key for keyid, key in known.items() if keyid in used}, roles
    )
    targets.version += 1
    targets.expires = repository.late(now, repository.days.targets)
    repository.sign("targets", targets, signers)
    return role
