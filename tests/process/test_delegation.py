"""The rules of version 2 as the kernel has them, with whatever controller it has to offer there.

Skipped where there is none, where this is not root, or where systemd owns the tree.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

# A process of its own in a group of its own: divides it, and says what it sees.
CODE = """
import json, os, subprocess, sys
from pathlib import Path
from aiosd.daemon.workers.delegation import give_back, take_ground

group, controller = Path(sys.argv[1]), sys.argv[2]
(group / "cgroup.procs").write_text(str(os.getpid()))

def place():
    return Path("/proc/self/cgroup").read_text().splitlines()[-1].rpartition("/")[2]

def take():
    return take_ground(Path("/"), os.getpid(), [controller])

said = {"unmarked": take().lacking.get(controller, "")}
os.setxattr(group, "user.delegate", b"1")
taken = take()
(ground,) = taken.grounds
worker = ground.folder / "echo.1"
worker.mkdir()
with subprocess.Popen(["sleep", "60"]) as child:
    (worker / "cgroup.procs").write_text(str(child.pid))
    said["moved"] = (worker / "cgroup.procs").read_text().split() == [str(child.pid)]
    said["controlled"] = any(each.name.startswith(controller) for each in worker.iterdir())
    said["leaf"] = place()
    child.kill()
give_back(taken, os.getpid())
said["back"] = place()
with subprocess.Popen(["sleep", "60"]) as other:  # shares the group, and is not ours to move
    said["shared"] = take().lacking.get(controller, "")
    said["still"] = place()
    other.kill()
said["left"] = [each.name for each in group.iterdir() if each.is_dir()]
print(json.dumps(said))
"""


@pytest.fixture
def group() -> Iterator[tuple[Path, str]]:
    """A group right below the top of version 2, and a controller that is at work in it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    tops = [Path(line.split()[4]) for line in lines if " - cgroup2 " in line]
    if not tops or Path("/run/systemd/system").exists() or os.geteuid() != 0:
        pytest.skip("no version 2 of control groups that this test may change")
    offered = (tops[0] / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("version 2 has no controller here")
    made, handed_down = tops[0] / f"aiosd-test-{os.getpid()}", tops[0] / "cgroup.subtree_control"
    before = handed_down.read_text().split()
    try:
        made.mkdir()
        handed_down.write_text(f"+{offered[0]}")
    except OSError as error:
        pytest.skip(f"version 2 may not be changed here: {error}")
    try:
        yield made, offered[0]
    finally:
        with contextlib.suppress(OSError):
            made.rmdir()
        if offered[0] not in before:
            handed_down.write_text(f"-{offered[0]}")


def test_a_group_is_divided_if_it_is_delegated_and_nobody_else_is_in_it(
    group: tuple[Path, str],
) -> None:
    folder, controller = group
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), controller],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "not delegated to this service" in said["unmarked"]
    assert (said["moved"], said["controlled"], said["leaf"]) == (True, True, "daemon")
    assert said["back"] == said["still"] == folder.name
    assert "resource busy" in said["shared"]
    assert said["left"] == []
