"""A daemon that starts goes on with releases where the last one ended, or takes one back."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from fakes.published import fill, layout, published

from aiosd.daemon.releases.resumption import resume
from aiosd.domain.rollout import Rollout, State
from aiosd.policy.rollout.events import DoActivate, DoProbe, DoWatch, Effect
from aiosd.policy.rollout.rules import RULES
from aiosd.store.ledger import Ledger
from aiosd.store.releases import Releases

ROW = Rollout(name="one", release=2, sha256="a" * 64, old_release=1, state=State.STAGED)


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    made = Releases(layout(tmp_path))
    for release in (1, 2):
        files = {"model.bin": b"model %d" % release}
        fill(made.blobs, files)
        made.stage(published("one", release, files))
    made.activate("one", 1)
    made.activate("one", 2)
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "state").mkdir()
    opened = Ledger(tmp_path / "state" / "releases.db")
    yield opened
    opened.close()


def resumed(ledger: Ledger, releases: Releases, row: Rollout) -> list[tuple[Rollout, list[Effect]]]:
    ledger.put(row)
    return resume(ledger, releases, time.time(), RULES)


def test_a_staged_release_is_probed(ledger: Ledger, releases: Releases) -> None:
    ((row, effects),) = resumed(ledger, releases, ROW)
    assert (row.state, effects) == (State.STAGED, [DoProbe()])
    assert releases.active("one") == 2


def test_what_the_updater_has_in_hand_is_left_alone(ledger: Ledger, releases: Releases) -> None:
    fetching = msgspec.structs.replace(ROW, state=State.FETCHING)
    assert resumed(ledger, releases, fetching) == []
    assert ledger.row("one") == fetching


def test_a_crash_on_trial_is_written_down_before_anything_else(
    ledger: Ledger, releases: Releases
) -> None:
    on_trial = msgspec.structs.replace(ROW, state=State.COMMITTED, trial=True)
    ((row, effects),) = resumed(ledger, releases, on_trial)
    assert effects == [DoActivate(2), DoWatch()]
    assert row.crashes == 1
    assert ledger.row("one") == row


def test_the_third_crash_brings_the_old_release_back_at_once(
    ledger: Ledger, releases: Releases
) -> None:
    on_trial = msgspec.structs.replace(ROW, state=State.COLLECTED, trial=True, crashes=2)
    assert resumed(ledger, releases, on_trial) == []
    assert releases.active("one") == 1
    assert ledger.quarantined("one", 2) is not None


def test_a_quarantined_release_that_is_active_still_is_taken_back(
    ledger: Ledger, releases: Releases
) -> None:
    quarantined = msgspec.structs.replace(ROW, state=State.QUARANTINED, reason="r")
    assert resumed(ledger, releases, quarantined) == []
    assert releases.active("one") == 1
    # And what the owner made active since is not touched.
    releases.activate("one", 1)
    assert resumed(ledger, releases, quarantined) == []
    assert releases.active("one") == 1
