"""Every bundled expert passes its own self-test, through a real daemon and a real worker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiosd.client import Client
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import Manifest, SelfTestCase
from aiosd.policy.rollout.self_test import differences
from aiosd.store.packages import read_manifest
from tools.demo.private_daemon import PrivateDaemon

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent for path in (ROOT / "experts").glob("*/expert.toml"))

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with PrivateDaemon(PACKAGES) as daemon, daemon.client() as client:
        yield client


def ask(client: Client, manifest: Manifest, folder: Path, case: SelfTestCase) -> dict[str, object]:
    name = manifest.name
    if case.text is not None:
        return client.run(text=case.text, expert=name).output
    if case.values is not None:
        return client.run(series=case.values, expert=name).output
    if case.json is not None:
        return client.run(json=json.loads(case.json), expert=name).output
    assert case.file is not None
    data = (folder / case.file).read_bytes()
    if manifest.input.type is InputType.AUDIO:
        return client.run(audio=data, expert=name).output
    return client.run(image=data, expert=name).output


def test_the_seven_experts_are_bundled() -> None:
    names = {path.name for path in PACKAGES}
    assert names >= {"sms-spam", "assistant-intent", "home-command", "machine-anomaly", "digits"}
    assert {"safety-filter", "keyword"} <= names


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: path.name)
def test_an_expert_passes_its_self_test(client: Client, folder: Path) -> None:
    manifest = read_manifest(folder)
    cases = manifest.self_test.cases
    assert cases, "a release proves itself"
    failed = []
    for number, case in enumerate(cases):
        found = list(differences(case.expect, ask(client, manifest, folder, case), case.tolerance))
        if found:
            failed.append(f"case {number}: {'; '.join(found)}")
    assert len(failed) <= (1 - manifest.self_test.pass_mark) * len(cases), failed


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: path.name)
def test_an_expert_stays_within_the_ram_it_asked_for(client: Client, folder: Path) -> None:
    client.load(folder.name)
    (row,) = [each for each in client.ps()["experts"] if each["name"] == folder.name]  # type: ignore[attr-defined]
    need = client.show(folder.name)["computed_need_bytes"]
    assert row["own_bytes"] <= need
