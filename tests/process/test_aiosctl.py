"""aiosctl as a process: signals, pipes and terminals."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon

from aiosd.cli.failure import Exit
from aiosd.protocol import messages

pytestmark = pytest.mark.process
AIOSCTL = [sys.executable, "-m", "aiosd.cli"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as daemon:
        yield daemon


def environment(repo: Path, daemon: FakeDaemon) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repo), "AIOSD_SOCKET_DIR": str(daemon.folder)}


@pytest.mark.parametrize(
    ("word", "number", "code"),
    [
        ("hold", signal.SIGINT, Exit.INTERRUPTED),
        ("stuck", signal.SIGINT, Exit.INTERRUPTED),
        ("hold", signal.SIGTERM, Exit.TERMINATED),
        ("stuck", signal.SIGHUP, Exit.HUNG_UP),
    ],
)
def test_a_signal_cancels_the_request_on_the_daemon(
    repo: Path, daemon: FakeDaemon, word: str, number: signal.Signals, code: Exit
) -> None:
    command = [*AIOSCTL, "run", "--text", f"{word} it", "--stream"]
    with subprocess.Popen(
        command,
        env=environment(repo, daemon),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        daemon.wait_for_kind(messages.Run)
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert b"Traceback" not in err
    daemon.wait_for_kind(messages.Cancel)


def test_a_reader_that_goes_away_is_no_noise(repo: Path, daemon: FakeDaemon) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*AIOSCTL, "status"],
        env=environment(repo, daemon),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, b"")


def test_on_a_terminal_the_text_streams_and_there_are_colours(
    repo: Path, daemon: FakeDaemon
) -> None:
    assert on_terminal(repo, daemon, "run", "echo", "one two") == "onetwo\n"
    assert isinstance(daemon.runs()[-1].verb, messages.Run)
    assert daemon.runs()[-1].verb.options.stream
    assert "\x1b[" in on_terminal(repo, daemon, "list")


def on_terminal(repo: Path, daemon: FakeDaemon, *words: str) -> str:
    master, slave = pty.openpty()
    env = {**environment(repo, daemon), "NO_COLOR": "", "TERM": "xterm"}
    done = subprocess.run(
        [*AIOSCTL, *words], env=env, stdout=slave, stderr=subprocess.DEVNULL, timeout=20, check=True
    )
    assert done.returncode == Exit.OK
    os.close(slave)
    text = os.read(master, 65_536).decode()
    os.close(master)
    return text.replace("\r\n", "\n")


def test_an_encoding_that_lacks_a_character_is_no_failure(repo: Path, daemon: FakeDaemon) -> None:
    done = subprocess.run(
        [*AIOSCTL, "run", "--text", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"],
        env={**environment(repo, daemon), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (Exit.OK, b"caf?\n", b"")


def test_asking_imports_neither_asyncio_nor_an_engine(repo: Path) -> None:
    heavy = ("asyncio", "numpy", "aiosd.engines", "aiosd.pipelines", "importlib.metadata")
    code = f"import sys, aiosd.cli.main; print([one for one in {heavy!r} if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "[]"
