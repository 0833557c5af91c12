"""The daemon has no network: nobody but one folder opens connections, nobody but one uses it."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {path.name for path in (ROOT / "aiosd").iterdir() if (path / "__init__.py").exists()}
CLIENTS = {"aiohttp", "http", "httpx", "requests", "ssl", "socketserver", "urllib", "urllib3"}
FAMILIES = {"AF_INET", "AF_INET6", "AF_PACKET", "create_connection", "getaddrinfo"}


def contract(name: str) -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for each in settings["tool"]["importlinter"]["contracts"]:
        if each["name"] == name:
            return {module.removeprefix("aiosd.") for module in each["source_modules"]}
    raise AssertionError(name)


def test_the_contracts_leave_out_nobody_but_those_three() -> None:
    assert contract("Only aiosd.net opens a network connection") == FOLDERS - {"net"}
    assert contract("Only update and uplink use aiosd.net") == FOLDERS - {"net", "update", "uplink"}
    assert contract("Only the updater uses python-tuf") == FOLDERS - {"update"}


@pytest.mark.parametrize("folder", sorted(FOLDERS - {"net"}))
def test_no_other_folder_names_what_opens_a_connection(folder: str) -> None:
    for path in (ROOT / "aiosd" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named: set[str] = set()
            match node:
                case ast.Import(names=names):
                    named = {name.name.partition(".")[0] for name in names}
                case ast.ImportFrom(module=str(module)):
                    named = {module.partition(".")[0]}
                case ast.Attribute(attr=attribute):
                    assert attribute not in FAMILIES, f"{path}:{node.lineno}"
            assert not named & CLIENTS, f"{path}:{getattr(node, 'lineno', 0)}"


LOOK = """\
import sys, aiosd.daemon.__main__
print(*(name for name in sys.modules if name.startswith("aiosd.")))
"""
OF_THE_UPLINK = {
    "aiosd.daemon.way_up",
    "aiosd.daemon.way_up.escalation",
    "aiosd.daemon.way_up.outbound",
    "aiosd.daemon.way_up.uplink",
    "aiosd.daemon.way_up.upward",
    "aiosd.policy.outbound",
    "aiosd.policy.outbound.allowance",
    "aiosd.policy.outbound.breaker",
    "aiosd.policy.outbound.escalation",
    "aiosd.policy.outbound.pattern",
    "aiosd.policy.outbound.redaction",
    "aiosd.protocol.openai",
    "aiosd.protocol.sse",
    "aiosd.protocol.uplink",
}


def test_a_daemon_without_an_uplink_imports_nothing_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], check=True, capture_output=True, text=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert "aiosd.daemon.main" in loaded
    assert not loaded & OF_THE_UPLINK
    away = ("aiosd.net", "aiosd.update", "aiosd.uplink")
    assert not {name for name in loaded if name.startswith(away)}


def test_that_list_names_modules_that_exist() -> None:
    for name in OF_THE_UPLINK:
        place = ROOT / name.replace(".", "/")
        assert place.with_suffix(".py").is_file() or place.is_dir(), name


def test_a_daemon_has_no_tls_library() -> None:
    look = "import sys, aiosd.daemon.__main__; print('_ssl' in sys.modules, sys.modules['ssl'])"
    done = subprocess.run(
        [sys.executable, "-c", look], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split() == ["False", "None"]
