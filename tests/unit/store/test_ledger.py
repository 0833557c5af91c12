"""What the ledger was told it still knows, and it only ever raises what keeps old releases out."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiosd.domain.rollout import Canary, Cost, Report, Rollout, State
from aiosd.store import failpoint
from aiosd.store.ledger import MAX_HISTORY, Ledger, LedgerError, Progress

ROW = Rollout(name="digits", release=3, sha256="a" * 64, since=10.0, old_release=2)


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoint.arm("")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "releases.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(path)
    yield opened
    opened.close()


def changed(state: State, **more: object) -> Rollout:
    return msgspec.structs.replace(ROW, state=state, **more)


def test_a_row_is_known_after_the_file_is_opened_again(path: Path, ledger: Ledger) -> None:
    assert ledger.row("digits") is None
    ledger.put(ROW)
    again = Ledger(path)
    assert again.row("digits") == ROW
    assert again.rows() == [ROW]
    again.close()


def test_it_syncs_before_it_says_that_something_is_written(ledger: Ledger) -> None:
    assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_history_has_every_state_once_the_newest_first(ledger: Ledger) -> None:
    ledger.put(ROW)
    ledger.put(changed(State.FETCHING))
    ledger.put(changed(State.FETCHING, deadline=99.0))
    ledger.put(changed(State.PLANNED, reason="no network"))
    ledger.put(msgspec.structs.replace(ROW, name="other"))
    states = [change.row.state for change in ledger.history("digits")]
    assert states == [State.PLANNED, State.FETCHING, State.PLANNED]
    assert [change.row.name for change in ledger.history()] == ["other", *["digits"] * 3]


COUNTS = st.integers(0, 2**50)
SECONDS = st.floats(0, 1e12)
COSTS = st.builds(Cost, fetched=COUNTS, written=COUNTS, shared=COUNTS)
REPORTS = st.builds(
    Report,
    passed=COUNTS,
    peak_bytes=COUNTS,
    load_ms=SECONDS,
    collisions=st.lists(st.text(max_size=9), max_size=3).map(tuple),
)
ROWS = st.builds(
    Rollout,
    name=st.just("digits"),
    release=st.integers(4, 2**50),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    state=st.sampled_from(State),
    since=SECONDS,
    deadline=SECONDS,
    attempts=COUNTS,
    reason=st.text(max_size=1000),
    old_release=COUNTS,
    back=st.none() | st.sampled_from(State),
    trying=st.booleans(),
    checking=st.booleans(),
    canary=st.builds(Canary, good=COUNTS, slow=COUNTS, failed=COUNTS),
    report=st.none() | REPORTS,
    trial=st.booleans(),
    crashes=COUNTS,
    paused=st.booleans(),
    hold_seconds=SECONDS,
    cost=COSTS,
)


@settings(max_examples=50)
@given(row=ROWS)
def test_a_row_comes_back_as_it_was_put_whatever_is_in_it(row: Rollout) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "releases.db"
        with closing(Ledger(path)) as ledger:
            ledger.put(ROW)
            ledger.put(row)
        with closing(Ledger(path)) as again:
            assert again.row("digits") == row
            assert [change.row for change in again.history("digits")] == [row, ROW]


def test_a_row_is_kept_without_what_every_new_one_has(ledger: Ledger) -> None:
    ledger.put(ROW)
    ((kept,),) = ledger._database.execute("SELECT row FROM rollouts").fetchall()
    assert set(msgspec.json.decode(kept)) == {"name", "release", "sha256", "since", "old_release"}


def test_history_is_bounded_along_the_way_of_releases(ledger: Ledger) -> None:
    way = [State.PLANNED, State.FETCHING, State.STAGED, State.CANARY, State.COLLECTED]
    for number in range(3, MAX_HISTORY):
        for state in way:
            ledger.put(changed(state, release=number))
    assert len(ledger.history("digits")) <= MAX_HISTORY + len(way)


def test_history_is_bounded(ledger: Ledger) -> None:
    for number in range(MAX_HISTORY + 20):
        ledger.put(changed(State.PLANNED, reason=str(number)))
    kept = ledger.history("digits")
    assert len(kept) == MAX_HISTORY
    assert kept[0].row.reason == str(MAX_HISTORY + 19)


def test_a_commit_raises_the_floor_and_nothing_lowers_it(ledger: Ledger) -> None:
    assert ledger.floor("digits") == 0
    ledger.put(changed(State.COMMITTED))
    assert ledger.floor("digits") == 3
    ledger.raise_floor("digits", 2)
    assert ledger.floor("digits") == 3
    ledger.raise_floor("digits", 9)
    assert ledger.floor("digits") == 9


def test_a_quarantined_release_stays_so_with_its_first_reason(ledger: Ledger) -> None:
    ledger.put(changed(State.QUARANTINED, reason="a self-test failed"))
    ledger.put(changed(State.PLANNED))
    ledger.put(changed(State.QUARANTINED, reason="another"))
    assert ledger.quarantined("digits", 3) == "a self-test failed"
    assert ledger.quarantined("digits", 4) is None


def test_holds_are_switched_on_and_off(ledger: Ledger) -> None:
    ledger.hold("digits", on=True)
    ledger.hold("digits", on=True)
    assert ledger.held("digits")
    assert ledger.holds() == ["digits"]
    ledger.hold("digits", on=False)
    assert not ledger.held("digits")


def test_times_and_metadata_versions_only_rise(ledger: Ledger) -> None:
    ledger.raise_time_floor(100.0)
    ledger.raise_time_floor(50.0)
    assert ledger.time_floor() == 100.0
    ledger.raise_metadata_versions({"snapshot": 7, "targets": 2})
    ledger.raise_metadata_versions({"snapshot": 6, "targets": 3})
    assert ledger.metadata_version("snapshot") == 7
    assert ledger.metadata_version("targets") == 3
    assert ledger.metadata_version("timestamp") == 0


def test_what_is_no_news_is_not_written(ledger: Ledger) -> None:
    ledger.raise_time_floor(100.0)
    ledger.raise_metadata_versions({"snapshot": 7, "targets": 2})
    log = ledger.path.with_name(f"{ledger.path.name}-wal")
    before = log.stat().st_size
    ledger.raise_time_floor(100.0)
    ledger.raise_metadata_versions({"snapshot": 7, "targets": 1})
    ledger.set_progress("b" * 64, None)
    assert log.stat().st_size == before
    ledger.raise_metadata_versions({"snapshot": 8})
    assert log.stat().st_size > before


def test_a_new_ledger_writes_small_pages_and_one_with_larger_ones_is_read_as_it_is(
    ledger: Ledger, tmp_path: Path
) -> None:
    def page(path: Path) -> int:
        with closing(sqlite3.connect(path)) as database:
            return int(database.execute("PRAGMA page_size").fetchone()[0])

    assert page(ledger.path) == 512
    older = tmp_path / "older.db"
    with closing(sqlite3.connect(older)) as database:
        database.execute("PRAGMA page_size=4096")
        database.execute("CREATE TABLE holds(name TEXT PRIMARY KEY)")
        for table in ("rollouts(name, row)", "marks(key TEXT PRIMARY KEY, value REAL NOT NULL)"):
            database.execute(f"CREATE TABLE {table}")
        database.execute("INSERT INTO holds VALUES('digits')")
        database.execute("PRAGMA user_version=1")
        database.commit()
    with closing(Ledger(older)) as found:
        assert found.held("digits")
        found.raise_time_floor(5.0)
        assert found.time_floor() == 5.0
    assert page(older) == 4096


def test_progress_is_kept_until_it_is_forgotten(ledger: Ledger) -> None:
    ledger.set_progress("b" * 64, Progress(bytes=5, tag='"x"'))
    assert ledger.progress("b" * 64) == Progress(bytes=5, tag='"x"')
    ledger.set_progress("b" * 64, None)
    assert ledger.progress("b" * 64) == Progress()


def test_the_row_of_a_newer_release_is_not_overwritten(ledger: Ledger) -> None:
    ledger.put(ROW)
    with pytest.raises(LedgerError, match="release 3 is on its way already"):
        ledger.put(msgspec.structs.replace(ROW, release=2))
    assert ledger.row("digits") == ROW


def test_a_removed_experts_row_goes_and_its_floor_stays(ledger: Ledger) -> None:
    ledger.put(changed(State.COMMITTED))
    ledger.forget("digits")
    assert ledger.row("digits") is None
    assert ledger.floor("digits") == 3


@pytest.mark.parametrize("point", ["ledger.put.begin", "ledger.put.commit"])
def test_a_disk_that_fails_leaves_the_row_as_it_was(ledger: Ledger, point: str) -> None:
    ledger.put(ROW)
    failpoint.arm(f"{point}:eio")
    with pytest.raises(LedgerError, match="Input/output error"):
        ledger.put(changed(State.QUARANTINED, reason="r"))
    failpoint.arm("")
    assert ledger.row("digits") == ROW
    assert ledger.quarantined("digits", 3) is None
    ledger.put(changed(State.FETCHING))


def test_a_damaged_ledger_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_ledger_of_a_newer_aiosd_is_refused(path: Path) -> None:
    Ledger(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(LedgerError, match="newer"):
        Ledger(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(tmp_path / "absent" / "releases.db")
