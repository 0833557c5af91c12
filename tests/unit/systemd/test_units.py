"""The unit files, read by systemd's own tools where they are installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aiosd.powerd.__main__ import RECORD
from aiosd.store.layout import Layout

SOCKETS = {
    "aiosd.socket": ("api", "aiosd-clients"),
    "aiosd-admin.socket": ("admin", "aiosd-admin"),
    "aiosd-events.socket": ("events", "aiosd-clients"),
}

# The way up: installed only where the owner wants one.
UPLINK = ["aiosd-uplink.service", "aiosd-uplink.socket"]
UPDATE = ["aiosd-update.service", "aiosd-update.timer"]
POWERD = ("aiosd-powerd.service", "aiosd-powerd.socket")
# A store of its own in one file of the card: only where the owner makes that file.
STORE = ["aiosd-store.service"]

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)


def whole_lines(path: Path) -> str:
    """Return a unit file, each line that goes on after a backslash in one."""
    return path.read_text(encoding="utf-8").replace("\\\n", " ")


def settings(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return a unit file by section and key; a key may stand more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in whole_lines(path).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            sections.setdefault(section, {}).setdefault(key, []).append(value)
    return sections


def exposure(unit: Path) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert found, done.stderr
    return float(found[1])


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(repo: Path, tmp_path: Path) -> None:
    folder = repo / "systemd"
    kinds = ("*.service", "*.socket", "*.timer")
    for unit in (each for kind in kinds for each in folder.glob(kind)):
        text = whole_lines(unit)
        # The daemon itself need not be installed here.
        text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = sorted(tmp_path.iterdir())
    known = [*SOCKETS, "aiosd.service", *UPDATE, *UPLINK, *POWERD, *STORE]
    assert [unit.name for unit in units] == sorted(known)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_daemon_is_as_closed_as_the_readme_says(repo: Path) -> None:
    claimed = re.search(
        r"gives \*\*(\d\.\d)\*\*", (repo / "systemd" / "README.md").read_text(encoding="utf-8")
    )
    assert claimed
    assert exposure(repo / "systemd" / "aiosd.service") <= float(claimed[1]) + 0.2


@needs_systemd
def test_the_uplink_is_as_closed_as_the_readme_says(repo: Path) -> None:
    claimed = re.search(
        r"aiosd-uplink.service` gives \*\*(\d\.\d)\*\*",
        (repo / "systemd" / "README.md").read_text(encoding="utf-8"),
    )
    assert claimed
    assert exposure(repo / "systemd" / "aiosd-uplink.service") <= float(claimed[1]) + 0.2


@needs_systemd
def test_the_updater_is_as_closed_as_the_readme_says(repo: Path) -> None:
    text = (repo / "systemd" / "README.md").read_text(encoding="utf-8")
    claimed = re.search(r"aiosd-update.service` gives \*\*(\d\.\d)\*\*", text)
    assert claimed
    assert exposure(repo / "systemd" / "aiosd-update.service") <= float(claimed[1]) + 0.2


def test_the_store_in_a_file_is_mounted_before_those_who_use_it_and_only_where_there_is_one(
    repo: Path,
) -> None:
    unit = settings(repo / "systemd" / "aiosd-store.service")
    (image,) = unit["Unit"]["ConditionPathExists"]
    assert unit["Unit"]["Before"] == ["aiosd.service aiosd-update.service"]
    assert unit["Install"]["RequiredBy"] == ["aiosd.service"]
    (mount,) = unit["Service"]["ExecStart"]
    assert f"--direct-io=on {image})" in mount
    assert "noexec" in mount


def test_the_updater_runs_on_its_timer_once_and_writes_the_store_alone(repo: Path) -> None:
    folder = repo / "systemd"
    service = settings(folder / "aiosd-update.service")["Service"]
    assert service["Type"] == ["oneshot"]
    assert service["User"] == ["aiosd"], "the daemon's: both write the store"
    assert service["ReadWritePaths"] == ["/var/lib/aiosd"]
    assert service["SocketBindDeny"] == ["any"]
    assert service["SuccessExitStatus"] == ["69 73 75"]
    assert "Install" not in settings(folder / "aiosd-update.service")
    timer = settings(folder / "aiosd-update.timer")
    assert timer["Timer"]["Persistent"] == ["yes"]
    assert timer["Install"]["WantedBy"] == ["timers.target"]


def test_the_uplink_has_the_network_and_the_daemon_alone_may_call_it(repo: Path) -> None:
    socket = settings(repo / "systemd" / "aiosd-uplink.socket")["Socket"]
    assert socket["ListenStream"] == [str(Layout().sockets / "uplink.sock")]
    assert (socket["SocketUser"], socket["SocketMode"]) == (["aiosd"], ["0600"])
    service = settings(repo / "systemd" / "aiosd-uplink.service")["Service"]
    assert service["User"] == ["aiosd-uplink"], "not the daemon's user: it may not read the key"
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]
    assert service["SocketBindDeny"] == ["any"]
    assert service["LimitCORE"] == ["0"]
    assert service["StateDirectory"] == ["aiosd-uplink"]
    for unit in ("aiosd.service", *SOCKETS):
        assert "uplink" not in (repo / "systemd" / unit).read_text(encoding="utf-8")


@needs_systemd
def test_the_power_helper_is_as_closed_as_the_readme_says(repo: Path) -> None:
    text = (repo / "systemd" / "README.md").read_text(encoding="utf-8")
    claimed = re.search(r"aiosd-powerd.service` gives \*\*(\d\.\d)\*\*", text)
    assert claimed
    assert exposure(repo / "systemd" / "aiosd-powerd.service") <= float(claimed[1]) + 0.2


def test_the_power_helper_is_off_until_somebody_enables_it(repo: Path) -> None:
    folder = repo / "systemd"
    assert "Install" not in settings(folder / "aiosd-powerd.service")
    for unit in (*folder.glob("aiosd*.service"), *folder.glob("aiosd*.socket")):
        if unit.name not in POWERD:
            assert "powerd" not in unit.read_text(encoding="utf-8"), unit.name


def test_the_power_helper_hears_the_daemon_alone_and_writes_the_clocks_alone(repo: Path) -> None:
    socket = settings(repo / "systemd" / "aiosd-powerd.socket")["Socket"]
    assert socket["ListenSequentialPacket"] == [str(Layout().powerd_socket)]
    assert (socket["SocketUser"], socket["SocketMode"]) == (["aiosd"], ["0600"])
    service = settings(repo / "systemd" / "aiosd-powerd.service")["Service"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["ReadWritePaths"] == ["/sys/devices/system/cpu"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert RECORD.parent == Path("/run") / service["RuntimeDirectory"][0]
    assert service["RuntimeDirectoryPreserve"] == ["yes"]  # else a kill would lose what was found


def test_each_socket_has_its_name_group_and_mode(repo: Path) -> None:
    for unit, (name, group) in SOCKETS.items():
        socket = settings(repo / "systemd" / unit)["Socket"]
        assert socket["ListenStream"] == [f"/run/aiosd/{name}.sock"]
        assert socket["FileDescriptorName"] == [name]
        assert socket["SocketGroup"] == [group]
        assert socket["SocketMode"] == ["0660"]
        assert socket["Service"] == ["aiosd.service"]


def test_the_daemon_keeps_what_its_design_leans_on(repo: Path) -> None:
    service = settings(repo / "systemd" / "aiosd.service")["Service"]
    assert service["Type"] == ["notify"]
    assert service["WatchdogSec"] == ["30"]
    assert service["RestartPreventExitStatus"] == ["78"]
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert service["PrivateNetwork"] == ["yes"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert sorted(service["Sockets"][0].split()) == sorted(SOCKETS)
    assert "PrivateUsers" not in service  # peers would lose their uid
    assert "RuntimeDirectory" not in service  # it would take the sockets' folder away at each stop
    assert "seccomp" in service["SystemCallFilter"][-1]


def test_every_group_of_the_units_is_made(repo: Path) -> None:
    made = (repo / "systemd" / "sysusers.d" / "aiosd.conf").read_text(encoding="utf-8")
    names = {line.split()[1] for line in made.splitlines() if line and not line.startswith("#")}
    assert {group for _, group in SOCKETS.values()} | {"aiosd", "aiosd-uplink"} == names


def test_the_paths_of_the_units_are_those_of_the_layout(repo: Path) -> None:
    layout = Layout()
    service = settings(repo / "systemd" / "aiosd.service")["Service"]
    assert Path("/var/lib") / service["StateDirectory"][0] == layout.state
    made = (repo / "systemd" / "tmpfiles.d" / "aiosd.conf").read_text(encoding="utf-8")
    assert str(layout.experts[0]) in made
    listened = {settings(repo / "systemd" / unit)["Socket"]["ListenStream"][0] for unit in SOCKETS}
    assert listened == {
        str(layout.api_socket),
        str(layout.admin_socket),
        str(layout.events_socket),
    }
