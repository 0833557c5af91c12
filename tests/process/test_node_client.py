"""The Node example against a fake daemon, with its packages in a cache folder."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.protocol.messages import Run

pytestmark = pytest.mark.process
INSTALL_SECONDS = 120


@pytest.fixture(scope="module")
def example(repo: Path) -> Path:
    """A folder with the example and the packages that it needs."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    source, folder = repo / "docs" / "examples", repo / ".cache" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_bytes()
    marker = folder / "installed-lock.json"
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(source / name, folder / name)
    if not marker.exists() or marker.read_bytes() != lock:
        # The packages bring compiled code along, so no install script has to run.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm took more than {INSTALL_SECONDS} s to get the packages")
        if done.returncode != 0:
            pytest.skip(f"npm cannot get the packages: {done.stderr.strip()[-300:]}")
        marker.write_bytes(lock)
    return folder


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as daemon:
        yield daemon


def ask(example: Path, sockets: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "client.mjs", *words],
        cwd=example,
        env={
            "PATH": str(Path(shutil.which("node") or "").parent),
            "AIOSD_SOCKET_DIR": str(sockets),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_node_client_prints_a_streamed_answer(example: Path, daemon: FakeDaemon) -> None:
    done = ask(example, daemon.folder, "one two", "echo")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["one", "two", '{"type":"text","text":"one two"}']
    (envelope,) = daemon.runs()
    assert isinstance(envelope.verb, Run)
    assert envelope.verb.expert == "echo"


def test_the_node_client_reports_the_daemons_error(example: Path, daemon: FakeDaemon) -> None:
    done = ask(example, daemon.folder, "busy now")
    assert done.returncode == 1
    assert "busy: the queue is full" in done.stderr


def test_the_node_client_does_not_wait_for_ever_for_a_daemon(example: Path, tmp_path: Path) -> None:
    done = ask(example, tmp_path, "hello")
    assert done.returncode == 1
    assert "unreachable" in done.stderr


def test_the_example_is_short_and_its_lock_names_no_registry(repo: Path) -> None:
    folder = repo / "docs" / "examples"
    assert len((folder / "client.mjs").read_text(encoding="utf-8").splitlines()) < 60
    assert "http" not in (folder / "package-lock.json").read_text(encoding="utf-8")
