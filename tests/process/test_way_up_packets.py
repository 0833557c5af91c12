"""What is local stays here: proven by every packet that the kernel saw, with the uplink on."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def namespace() -> list[str]:
    """Return the command that begins in a new network namespace; skip where none may be made."""
    for flags in (["--net"], ["--map-root-user", "--net"]):
        command = [shutil.which("unshare") or "unshare", *flags]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (subprocess.CalledProcessError, FileNotFoundError):
            continue
        return command
    pytest.skip("this machine lets this user make no network namespace (unshare --net)")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("room")
    done = subprocess.run(
        [*namespace(), sys.executable, repo / "tests" / "fakes" / "sealed_room.py", folder],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(repo / "tests")},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_local_request_makes_a_single_packet(told: dict[str, list[str]]) -> None:
    assert told["local packets"] == []
    ends = Counter(told["local"])
    assert ends.keys() == {"by words", "no_route", "refused_privacy", "over_ram"}
    assert ends["by words"] >= 18
    assert ends["refused_privacy"] >= 6


def test_a_request_that_may_go_up_makes_packets_to_the_endpoint_and_nowhere_else(
    told: dict[str, list[str]],
) -> None:
    assert told["up"] == "by uplink"
    assert len(told["up packets"]) > 6
    for packet in told["up packets"]:
        assert told["endpoint"] in packet.split(" > "), packet
    assert told["asked"] == 1


def test_an_uplink_that_is_switched_off_makes_none(told: dict[str, list[str]]) -> None:
    assert told["off"] == "no_route"
    assert told["off packets"] == []
