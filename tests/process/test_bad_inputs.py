"""Inputs and models that nobody should send: each gets its reason, and no worker dies of it."""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from fakes.running import DaemonProcess

from aiosd.domain.inputs import ImageInput, Input, SeriesInput, TextInput
from aiosd.protocol.messages import End, Error

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not (find_spec("ai_edge_litert") and find_spec("PIL")),
        reason="needs the litert and image extras",
    ),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[DaemonProcess]:
    """One daemon with the bundled experts, for all of these."""
    made = DaemonProcess(tmp_path_factory.mktemp("bundled"))
    paths = [str(made.experts), str(repo / "experts")]
    made.start(paths={"experts": paths}, restart={"crashes": 1000})
    yield made
    made.stop()


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a grey PNG that claims these sides, whatever its rows hold."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


PICTURES = {
    "nothing": b"",
    "noise": bytes(range(256)) * 10,
    "no pixels": png(0, 0),
    "no height": png(28, 0),
    "3600 megapixels": png(60_000, 60_000),
    "a claim of 4 gigapixels a side": png(0xFFFFFFFF, 0xFFFFFFFF),
    "rows that are missing": png(28, 28, bytes(29)),
    "a cut file": png(28, 28, bytes(29 * 28))[:40],
    "only the magic": b"\x89PNG\r\n\x1a\n",
    "a text": b"hello, I am a picture",
}
SERIES = {
    "nothing": floats(),
    "one value": floats(1.0),
    "all NaN": floats(*[math.nan] * 3000),
    "infinity": floats(*[math.inf] * 3000),
    "the largest": floats(*[3.4e38] * 3000),
    "half a float": floats(1.0) * 1000 + b"\0\0",
}


def refused_or_answered(daemon: DaemonProcess, expert: str, value: Input, *data: bytes) -> None:
    """Send it: the answer is an answer or `invalid` with a reason, and the worker is the same."""
    pid = daemon.load(expert)
    answer = daemon.client().give(expert, value, *data)
    if isinstance(answer, Error):
        assert answer.code == "invalid", answer
        assert answer.message
        assert str(answer.details["field"]).startswith("input"), answer
    else:
        assert isinstance(answer, End)
        text = msgspec.json.encode(answer.outcome.output)
        assert b"NaN" not in text
        assert b"null" not in text, answer.outcome.output
    assert daemon.worker(expert) == pid


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_none_is_refused(daemon: DaemonProcess, name: str) -> None:
    refused_or_answered(daemon, "digits", ImageInput(frame=0), PICTURES[name])
    answer = daemon.client().give("digits", ImageInput(frame=0), PICTURES[name])
    assert isinstance(answer, Error)


@pytest.mark.parametrize("name", SERIES)
def test_a_series_that_says_nothing_is_never_an_answer_made_up(
    daemon: DaemonProcess, name: str
) -> None:
    refused_or_answered(daemon, "machine-anomaly", SeriesInput(frame=0), SERIES[name])


@pytest.mark.parametrize("columns", [0, -1, 7, 2**31])
def test_a_number_of_columns_that_does_not_fit_is_refused(
    daemon: DaemonProcess, columns: int
) -> None:
    data = floats(*[0.5] * 3000)
    refused_or_answered(daemon, "machine-anomaly", SeriesInput(frame=0, columns=columns), data)


def test_neither_values_nor_bytes_is_refused(daemon: DaemonProcess) -> None:
    for expert, value in (("machine-anomaly", SeriesInput()), ("digits", ImageInput())):
        answer = daemon.client().give(expert, value)
        assert isinstance(answer, Error), expert
        assert answer.code == "invalid"


@pytest.mark.parametrize("expert", ["sms-spam", "assistant-intent", "home-command"])
@pytest.mark.parametrize("text", ["", " \n\t", "\0" * 50, "a" * 2000, "🦜" * 500, "\u202e\ufdfa"])
def test_any_text_is_answered_or_refused(daemon: DaemonProcess, expert: str, text: str) -> None:
    refused_or_answered(daemon, expert, TextInput(text=text))


@pytest.mark.parametrize(
    "model", [b"", b"\0" * 4000, b"GGUF" + b"\xff" * 4000, b"\x1c\0\0\0TFL3" + b"\xff" * 4000]
)
def test_a_model_that_is_none_is_refused_although_its_digest_is_right(
    daemon: DaemonProcess, repo: Path, model: bytes
) -> None:
    """The digest says who wrote it, not that it is a model."""
    source = repo / "experts" / "digits"
    name = f"digits-{hashlib.sha256(model).hexdigest()[:6]}"
    folder = daemon.experts / name
    folder.mkdir()
    text = (source / "expert.toml").read_text().replace('name = "digits"', f'name = "{name}"', 1)
    for file in source.iterdir():
        if file.suffix == ".tflite":
            original = file.read_bytes()
            (folder / file.name).write_bytes(model)
            text = text.replace(
                hashlib.sha256(original).hexdigest(), hashlib.sha256(model).hexdigest()
            ).replace(f"size = {len(original)}", f"size = {len(model)}")
        elif file.is_file() and file.suffix != ".toml":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "expert.toml").write_text(text)
    from aiosd.protocol.messages import Reload  # noqa: PLC0415

    daemon.admin().ask(Reload())
    answer = daemon.client().give(name, ImageInput(frame=0), png(28, 28, bytes(29 * 28)))
    assert isinstance(answer, Error)
    reason = daemon.refused().get(name, answer.message)
    assert reason
    assert "status 70" not in reason
    assert "SIG" not in reason
