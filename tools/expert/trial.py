"""A package's self-tests, run here as a board runs them: by the daemon, in a walled worker."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiosd.client import Client
from aiosd.domain.errors import AiosdError
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import Manifest, SelfTestCase
from aiosd.policy.rollout.self_test import differences
from aiosd.store.packages import read_manifest
from tools.demo.private_daemon import PrivateDaemon


@dataclass(frozen=True)
class Outcome:
    """One case: what was wrong (nothing if it passed) and how long it took."""

    number: int
    wrong: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True)
class Trial:
    """All cases, and the bytes that the worker held at the end."""

    outcomes: tuple[Outcome, ...]
    pass_mark: float
    ram_bytes: int

    @property
    def passed(self) -> bool:
        """Whether enough cases passed."""
        right = sum(not each.wrong for each in self.outcomes)
        return bool(self.outcomes) and right >= self.pass_mark * len(self.outcomes)


def run(folder: Path, *others: Path) -> Trial:
    """Run the self-tests of the package in `folder`; `others` are packages it needs, as its base.

    Raises:
        PackageError: it is no package.
        DaemonError: the daemon does not start.
    """
    manifest = read_manifest(folder)
    with PrivateDaemon([folder, *others]) as daemon, daemon.client() as client:
        outcomes = tuple(
            _try(client, manifest, folder, number, case)
            for number, case in enumerate(manifest.self_test.cases)
        )
        return Trial(outcomes, manifest.self_test.pass_mark, _held(client, manifest.name))


def _try(
    client: Client, manifest: Manifest, folder: Path, number: int, case: SelfTestCase
) -> Outcome:
    start = time.perf_counter()
    try:
        output = _ask(client, manifest, folder, case)
    except AiosdError as error:
        return Outcome(number, (f"{error.code}: {error.message}",), _since(start))
    taken = _since(start)
    return Outcome(number, tuple(differences(case.expect, output, case.tolerance)), taken)


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def _ask(
    client: Client, manifest: Manifest, folder: Path, case: SelfTestCase
) -> Mapping[str, object]:
    """Ask what the case asks."""
    name = manifest.name
    if case.text is not None:
        return client.run(text=case.text, expert=name).output
    if case.values is not None:
        return client.run(series=case.values, expert=name).output
    if case.json is not None:
        return client.run(json=json.loads(case.json), expert=name).output
    data = (folder / (case.file or "")).read_bytes()
    if manifest.input.type is InputType.AUDIO:
        return client.run(audio=data, expert=name).output
    return client.run(image=data, expert=name).output


def _held(client: Client, name: str) -> int:
    """Return what the worker of an expert holds, 0 if it has none."""
    rows = client.ps().get("experts")
    for row in rows if isinstance(rows, list) else []:
        if row.get("name") == name:
            return int(row.get("own_bytes") or 0)
    return 0
