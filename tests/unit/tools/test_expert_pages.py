"""The pages about packages and publishing say what the code does."""

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from aiosd.domain.manifest import Manifest
from aiosd.domain.release import ChunkIndex, Release, ReleaseFile, Requires, Rollout
from tools.expert.__main__ import make_parser

COMMAND = "python -m tools.expert "


def text(repo: Path, page: str) -> str:
    return (repo / "docs" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [Release, ReleaseFile, Requires, Rollout, ChunkIndex])
def test_the_page_has_every_key_of_a_manifest(repo: Path, kind: type[msgspec.Struct]) -> None:
    page = text(repo, "package-format.md")
    fields = [field.name for field in msgspec.structs.fields(kind)]
    assert [name for name in fields if f"`{name}`" not in page] == []


def test_the_page_has_every_table_of_a_package(repo: Path) -> None:
    page = text(repo, "package-format.md")
    fields = [field.name for field in msgspec.structs.fields(Manifest)]
    shown = set(re.findall(r"\[?\[?([a-z_]+)\]?\]?", page))
    assert [name for name in fields if name not in shown] == []


def commands(repo: Path) -> list[str]:
    page = text(repo, "publishing.md").replace("\\\n", " ")
    lines = [line.strip() for line in page.splitlines() if line.startswith(f"    {COMMAND}")]
    inline = [f"{COMMAND}{found}" for found in re.findall(r"`(keys [a-z]+ REPO[^`]*)`", page)]
    return [*lines, *inline]


def test_every_command_of_the_page_is_one(repo: Path) -> None:
    found = commands(repo)
    assert len(found) > 20
    for line in found:
        words = shlex.split(line.removeprefix(COMMAND), comments=True)
        assert make_parser().parse_args(words).command, line


def test_the_page_has_every_verb_and_step(repo: Path) -> None:
    page = " ".join(commands(repo))
    for verb in ("new", "check", "test", "pack", "publish", "promote", "revoke"):
        assert f"{COMMAND}{verb} " in page
    for step in ("new", "init", "sign", "renew", "delegate", "refresh", "rotate", "show"):
        assert f"keys {step} " in page
