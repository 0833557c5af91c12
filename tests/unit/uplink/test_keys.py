"""Keys are read from where nobody else can read them, and never told."""

import copy
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiosd.domain.uplink import Endpoint
from aiosd.uplink.keys import Key, KeyRefusedError, read_key

SECRET = "sk-very-secret-0123456789"


def endpoint(**facts: str) -> Endpoint:
    return Endpoint(name="a", url="https://a.example/v1", model="m", **facts)  # type: ignore[arg-type]


def key_file(folder: Path, text: str = SECRET, mode: int = 0o600) -> str:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_key_comes_from_a_private_file_or_a_credential_or_there_is_none(tmp_path: Path) -> None:
    path = key_file(tmp_path, f"  {SECRET}\n")
    for mode in (0o600, 0o400):
        Path(path).chmod(mode)
        key = read_key(endpoint(key_file=path), "")
        assert key is not None
        assert key.header() == {"Authorization": f"Bearer {SECRET}"}
    Path(path).chmod(0o440)  # as systemd makes them, in a folder that is closed itself
    key = read_key(endpoint(key_credential="key"), str(tmp_path))
    assert key is not None
    assert key.header()["Authorization"].endswith(SECRET)
    assert read_key(endpoint(), str(tmp_path)) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_file_that_others_may_open_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, mode=mode)
    with pytest.raises(KeyRefusedError, match="chmod 600") as caught:
        read_key(endpoint(key_file=path), "")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", " \n", "two words", "a\nInjected: header", "ключ", "a\0b", "x" * 5000]
)
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(KeyRefusedError, match="holds no key") as caught:
        read_key(endpoint(key_file=path), "")
    assert not text.strip() or text not in str(caught.value)


def test_what_is_no_plain_file_of_ours_is_refused(tmp_path: Path) -> None:
    real = key_file(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(real)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (link, tmp_path, tmp_path / "pipe", tmp_path / "none"):
        with pytest.raises(KeyRefusedError):
            read_key(endpoint(key_file=str(path)), "")
    with pytest.raises(KeyRefusedError, match="LoadCredential"):
        read_key(endpoint(key_credential="key"), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    os.chown(path, 12_345, -1)
    with pytest.raises(KeyRefusedError, match="belongs to user 12345"):
        read_key(endpoint(key_file=path), "")


def test_a_key_shows_itself_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    key = Key(SECRET)
    logging.getLogger("x").warning("%s %r %s", key, key, [key])
    shown = f"{key} {key!r} {[key]} {vars.__name__} {copy.copy([key])}" + caplog.text
    assert SECRET not in shown
    assert "Key(hidden)" in shown
    assert not hasattr(key, "__dict__")


LOOK = """\
import ctypes, resource
from aiosd.uplink.keys import close_shop
close_shop()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_that_holds_keys_can_leave_no_core_and_be_read_by_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "0", "0"]
