"""From a repository to a staged release, and what keeps a board from taking one."""

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
from fakes.mirror import Handler, on
from fakes.updating import Board, digest

from aiosd.domain.rollout import Cost, Rollout, State
from aiosd.domain.update import Fault, UpdateError
from aiosd.models.chunks import index_file
from aiosd.policy.rollout.events import Cancelled
from aiosd.policy.rollout.percentile import percentile
from aiosd.policy.rollout.table import advance
from aiosd.protocol.release_json import encode_release
from aiosd.store import assembly
from aiosd.update import download, updater
from aiosd.update.surroundings import Machine

MODEL = bytes(range(256)) * 4000


def offer(board: Board, release: int = 2, model: bytes = MODEL, **more: object) -> bytes:
    return board.repository.publish("one", release, {"model.bin": model}, **more)


def test_a_new_release_is_staged_and_the_old_one_serves_on(board: Board) -> None:
    manifest = offer(board)
    found = board.one()
    assert (found.result, found.release, found.fetched_bytes) == ("staged", 2, len(MODEL))
    row = board.ledger.row("one")
    assert row is not None
    assert (row.state, row.release, row.old_release) == (State.STAGED, 2, 1)
    assert row.sha256 == digest(manifest)
    assert board.releases.installed("one") == [1, 2]
    assert board.told == [("one", 2)]
    assert board.still_serves_the_old_one()


def test_every_step_is_in_the_ledger(board: Board) -> None:
    offer(board)
    board.one()
    states = [change.row.state for change in reversed(board.ledger.history("one"))]
    assert states == [State.PLANNED, State.FETCHING, State.VERIFIED, State.STAGED]


def test_nothing_new_is_current_and_nothing_is_written(board: Board) -> None:
    assert board.one().result == "current"
    assert board.row_state() is None


def test_a_second_run_takes_a_staged_release_no_further(board: Board) -> None:
    offer(board)
    board.one()
    before = len(board.mirror.asked)
    assert board.one().reason == "already staged"
    assert not any(path.startswith("blobs/") for path in board.mirror.paths[before:])


def test_check_says_what_would_come_and_fetches_none_of_it(board: Board) -> None:
    offer(board)
    with board.updater() as one:
        found = one.check(["one"])[0]
    assert (found.result, found.release, found.fetched_bytes) == ("offered", 2, len(MODEL))
    assert not any(path.startswith("blobs/") for path in board.mirror.paths)
    assert board.row_state() is None


def test_an_expert_that_is_not_here_yet_can_be_asked_for(board: Board) -> None:
    board.repository.roles["publisher-a"].version += 1
    board.repository.targets.delegations.roles["publisher-a"].paths.append(
        "experts/two/*/manifest.json"
    )
    board.repository.publish("two", 7)
    assert [found.result for found in board.run(["one", "two", "three"])] == [
        "current",
        "staged",
        "unknown",
    ]


def test_a_run_that_was_killed_goes_on_where_it_was(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def reach(name: str) -> None:
        if name == "fetch.progress":
            raise KilledError

    offer(board)
    monkeypatch.setattr(download, "SYNC_BYTES", 300_000)
    monkeypatch.setattr(download, "reach", reach)
    with pytest.raises(KilledError):
        board.one()
    assert board.row_state() is State.FETCHING
    monkeypatch.setattr(download, "reach", lambda _name: None)
    board.mirror.asked.clear()
    found = board.one()
    assert found.result == "staged"
    assert found.fetched_bytes <= len(MODEL) - 300_000
    assert any(each.range and each.if_range for each in board.mirror.asked)


def test_cancelling_stops_a_fetch_that_runs(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater, "_LOOK_BYTES", 1)

    def cancel(handler: Handler) -> None:
        row = board.ledger.row("one")
        assert row is not None
        board.ledger.put(advance(row, Cancelled("the owner said so"), board.wall)[0])
        handler.serve(handler.path.lstrip("/"))

    offer(board)
    board.mirror.mischief = on(digest(MODEL), cancel)
    with pytest.raises(UpdateError) as caught:
        board.one()
    assert caught.value.fault is Fault.CANCELLED
    assert board.row_state() is State.CANCELLED
    assert board.still_serves_the_old_one()


def test_a_long_fetch_gives_signs_of_life(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater, "_LOOK_BYTES", 1)
    offer(board)
    board.wall += 3000.0
    began = board.wall

    def slow(handler: Handler) -> None:
        board.wall += 3000.0
        handler.serve(handler.path.lstrip("/"))

    marks: list[float] = []
    put = board.ledger.put

    def note(row: Rollout) -> None:
        marks.append(row.since - began if row.state is State.FETCHING else -1.0)
        put(row)

    monkeypatch.setattr(board.ledger, "put", note)
    board.mirror.mischief = on(digest(MODEL), slow)
    assert board.one().result == "staged"
    assert 3000.0 in marks


def test_a_newer_release_takes_the_place_of_one_that_waits(board: Board) -> None:
    offer(board, 2)
    board.set(reserve="1 TiB")
    assert board.one().fault is Fault.NO_ROOM
    offer(board, 3)
    board.set(reserve="0")
    assert board.one().release == 3
    reasons = [change.row.reason for change in board.ledger.history("one")]
    assert "release 3 came" in reasons


def test_the_highest_release_of_ones_own_channel_is_taken(board: Board) -> None:
    offer(board, 2, channels=["stable"])
    offer(board, 3, channels=["candidate"])
    board.set(channel="candidate")
    with board.updater() as one:
        assert one.check(["one"])[0].release == 3
    board.set(channel="stable")
    assert board.one().release == 2


def test_a_release_that_the_daemon_has_in_its_hands_is_not_pushed_aside(board: Board) -> None:
    offer(board, 2)
    board.one()
    offer(board, 3)
    found = board.one()
    assert (found.result, found.reason) == ("waiting", "release 3 waits: release 2 is staged")


def test_a_release_on_trial_is_left_alone_for_a_day_at_most(board: Board) -> None:
    offer(board, 2)
    board.one()
    row = board.ledger.row("one")
    assert row is not None
    board.releases.activate("one", 2)
    board.ledger.put(msgspec.structs.replace(row, state=State.COLLECTED, trial=True))
    offer(board, 3)
    assert board.one().result == "waiting"
    board.wall += 86_401.0
    board.update = msgspec.structs.replace(board.update)
    assert board.one().result == "staged"


def test_a_rollout_reaches_a_board_by_its_place(board: Board) -> None:
    place = percentile(board.device, "one", 2)
    offer(board, 2, rollout={"percent": int(place)})
    found = board.one()
    assert found.result == "waiting"
    assert f"at {place:.1f}" in found.reason
    assert board.row_state() is None
    offer(board, 2, rollout={"percent": int(place) + 1})
    assert board.one().result == "staged"


@pytest.mark.parametrize(
    ("requires", "word"),
    [
        ({"arch": ["riscv64"]}, "riscv64"),
        ({"page_bytes": [16384]}, "16384"),
        ({"aiosd": ">=9.0"}, "9.0"),
    ],
)
def test_a_release_for_another_machine_is_passed_over(
    board: Board, requires: dict[str, object], word: str
) -> None:
    offer(board, 2)
    offer(board, 3, requires=requires)
    found = board.one()
    assert found.release == 2
    assert word in found.passed[0].reason


def test_a_release_for_this_machine_is_taken(board: Board) -> None:
    board.machine = Machine("aarch64", 16384, "0.2.1")
    offer(board, 2, requires={"arch": ["aarch64"], "page_bytes": [16384], "aiosd": ">=0.2"})
    assert board.one().result == "staged"


def test_what_is_quarantined_or_held_is_not_taken(board: Board) -> None:
    offer(board)
    board.ledger.hold("one", on=True)
    assert (board.one().result, board.one().reason) == ("waiting", "held")
    board.ledger.hold("one", on=False)
    assert board.one().result == "staged"
    row = board.ledger.row("one")
    assert row is not None
    board.ledger.put(msgspec.structs.replace(row, state=State.QUARANTINED, reason="bad answers"))
    assert (board.one().result, board.one().reason) == ("waiting", "bad answers")


def test_a_release_larger_than_the_owner_allows_is_passed_over(board: Board) -> None:
    board.set(largest="1 MB")
    offer(board)
    assert "largest" in board.one().reason


def test_bytes_wait_for_the_window_and_the_check_does_not(board: Board) -> None:
    board.set(window=["22:00-05:00"])
    offer(board)
    found = board.one()
    assert (found.result, found.fault) == ("waiting", Fault.OUT_OF_WINDOW)
    assert board.row_state() is State.PLANNED
    board.minute = 23 * 60
    assert board.one().result == "staged"


def stop_by_window(board: Board, monkeypatch: pytest.MonkeyPatch, look_bytes: int) -> None:
    """Offer a release whose fetch the window's end stops, seen after so many bytes."""
    monkeypatch.setattr(updater, "_LOOK_BYTES", look_bytes)
    board.set(window=["11:00-13:00"])

    def late(handler: Handler) -> None:
        board.minute = 14 * 60
        handler.serve(handler.path.lstrip("/"))

    offer(board)
    board.mirror.mischief = on(digest(MODEL), late, times=1)
    assert board.one().fault is Fault.OUT_OF_WINDOW


def test_a_window_that_ends_stops_a_fetch_which_goes_on_later(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_by_window(board, monkeypatch, 500_000)
    board.minute = 11 * 60
    found = board.one()
    assert found.result == "staged"
    assert found.fetched_bytes < len(MODEL) - 400_000


def test_a_metered_connection_brings_no_more_than_its_budget(board: Board) -> None:
    board.metered = True
    offer(board)
    assert board.one().fault is Fault.METERED
    board.set(metered_budget="2 MB")
    assert board.one().result == "staged"
    board.ledger.forget("one")
    board.repository.publish("one", 3, {"model.bin": MODEL[::-1]})
    assert board.one().fault is Fault.METERED


def test_an_operator_may_have_it_now_whatever_the_hour_and_the_connection(board: Board) -> None:
    board.metered = True
    board.set(window=["22:00-05:00"])
    offer(board)
    assert board.one(anyway=True).result == "staged"


def test_a_days_budget_holds_even_then(board: Board) -> None:
    board.set(day_budget="1 MB")
    offer(board)
    assert board.one(anyway=True).fault is Fault.OVER_BUDGET


def test_no_room_is_said_before_a_byte_comes(board: Board) -> None:
    board.set(reserve="1 TiB")
    offer(board)
    found = board.one()
    assert (found.result, found.fault) == ("waiting", Fault.NO_ROOM)
    assert not any(path.startswith("blobs/") for path in board.mirror.paths)
    row = board.ledger.row("one")
    assert row is not None
    assert row.attempts == 0
    assert "no_room" in row.reason


def test_the_rate_is_capped(board: Board) -> None:
    board.set(rate="1 MB")
    offer(board)
    board.one()
    assert board.rests == pytest.approx(len(MODEL) / 1e6, rel=0.05)


def test_a_stick_serves_as_a_web_server_does(board: Board, tmp_path: Path) -> None:
    offer(board)
    for path, data in board.repository.files.items():
        place = tmp_path / "stick" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    board.set(url=f"file://{tmp_path}/stick")
    assert board.one().result == "staged"
    assert not board.mirror.asked


def test_one_experts_trouble_does_not_stop_another(board: Board) -> None:
    board.repository.targets.delegations.roles["publisher-a"].paths.append(
        "experts/two/*/manifest.json"
    )
    offer(board)
    board.repository.publish("two", 1)
    board.mirror.mischief = on(digest(MODEL), lambda handler: handler.answer(500, b""))
    found = board.run(["one", "two"])
    assert [each.result for each in found] == ["waiting", "staged"]
    assert found[0].fault is Fault.REFUSED


def offer_by_chunks(board: Board, release: int, model: bytes) -> None:
    """Publish a release whose model has an index of its chunks."""
    path = board.root / f"model-{release}.bin"
    path.write_bytes(model)
    _, index = index_file(path, chunk=16_384)
    tree = msgspec.json.decode(offer(board, release, model=model))
    tree["files"][0]["chunks"] = msgspec.to_builtins(index)
    board.repository.add(f"experts/one/{release}/manifest.json", encode_release(tree))


def test_what_a_release_cost_is_in_the_ledger(board: Board) -> None:
    offer_by_chunks(board, 2, MODEL)
    found = board.one()
    assert (found.fetched_bytes, found.written_bytes, found.shared_bytes) == (*[len(MODEL)] * 2, 0)
    row = board.ledger.row("one")
    assert row is not None
    assert row.cost == Cost(fetched=len(MODEL), written=len(MODEL))
    assert board.ledger.history("one")[0].row.cost == row.cost


def test_a_delta_costs_the_network_little_and_says_what_was_written_and_shared(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hashlib.shake_128(b"model").digest(1 << 20)
    offer_by_chunks(board, 2, old)
    board.one()
    board.serve(2)
    new = old[:100_000] + b"changed" + old[100_007:]
    offer_by_chunks(board, 3, new)

    def share(source: int, source_offset: int, handle: int, offset: int, size: int) -> bool:
        os.pwrite(handle, os.pread(source, size, source_offset), offset)
        return True

    monkeypatch.setattr(assembly, "share", share)
    with board.updater() as checking:
        assert [each.fetched_bytes for each in checking.check(["one"])] == [16_384]
    found = board.one()
    assert (found.result, found.fetched_bytes) == ("staged", 16_384)
    assert found.written_bytes + found.shared_bytes == len(new)
    assert found.written_bytes == 16_384
    row = board.ledger.row("one")
    assert row is not None
    assert row.cost == Cost(fetched=16_384, written=16_384, shared=len(new) - 16_384)


def test_what_was_spent_before_a_failure_counts_too(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_by_window(board, monkeypatch, 1)
    row = board.ledger.row("one")
    assert row is not None
    spent = row.cost.fetched
    assert 0 < spent <= len(MODEL)
    board.minute = 11 * 60
    found = board.one()
    row = board.ledger.row("one")
    assert row is not None
    assert row.cost.fetched == spent + found.fetched_bytes
    assert row.cost.written == len(MODEL)
