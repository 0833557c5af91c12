"""What is wrong with a package in source, or could be better: each finding with its remedy."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from aiosd.domain.errors import PackageError
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import Manifest
from aiosd.models.check import check_package
from aiosd.models.need import ram_need
from aiosd.store.layout import MANIFEST
from aiosd.store.packages import Installed, check_files, check_folder_name, read_manifest
from tools.expert.template import LABEL, SUMMARY

# Files of a package's source that no board needs.
SOURCE_ONLY = {MANIFEST, "README.md", "build.py", ".gitignore"}
# Most packages are under one of these (SPDX licence list); others are asked about.
LICENCES = {
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "GPL-2.0-only",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "ISC",
    "LGPL-3.0-only",
    "MPL-2.0",
    "Unlicense",
}
_SPDX = re.compile(r"(?:LicenseRef-)?[A-Za-z0-9][A-Za-z0-9.+-]*")
_LINKS = {"AND", "OR", "WITH"}


@dataclass(frozen=True)
class Finding:
    """One thing that was found: an error stops a release, a warning is advice."""

    level: Literal["error", "warning"]
    where: str
    what: str
    step: str = ""

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.level}: {self.where}: {self.what}{f'; {self.step}' if self.step else ''}"


def check(folder: Path) -> list[Finding]:
    """Return everything that is found in a package folder, the errors first."""
    try:
        manifest = read_manifest(folder)
        check_folder_name(manifest, folder)
    except PackageError as error:
        return [Finding("error", MANIFEST, _plain(error, folder))]
    found = [*_files(manifest, folder), *_words(manifest), *_proof(manifest, folder)]
    return sorted(found, key=lambda each: each.level)


def _plain(error: PackageError, folder: Path) -> str:
    """Return the message without the folder, which the reader knows."""
    return error.message.replace(f"{folder}/", "")


def _files(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    """Look at the files: there, as declared, loadable, and none forgotten."""
    try:
        check_files(Installed(manifest, folder))
    except PackageError as error:
        yield Finding("error", "files", _plain(error, folder), _FIX)
        return
    for file in manifest.files:
        with (folder / file.path).open("rb") as opened:
            actual = hashlib.file_digest(opened, "sha256").hexdigest()
        if actual != file.sha256:
            yield Finding("error", file.path, f"its sha256 is {actual}", _FIX)
    listed = {file.path for file in manifest.files} | SOURCE_ONLY
    for path in sorted(folder.iterdir()):
        if path.name not in listed and not path.name.startswith("."):
            yield Finding(
                "warning", path.name, "is not among the files and will not be packed",
                "list it under [[files]] or move it away",
            )  # fmt: skip
    try:
        check_package(manifest, folder)
    except PackageError as error:
        yield Finding("error", "model", _plain(error, folder), "boards refuse it; convert it again")
        return
    yield from _need(manifest, folder)


_FIX = "if the file is right: python -m tools.expert check --fix"


def _need(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    """Compare what the package says it needs with what its model will take."""
    roles = {file.role: folder / file.path for file in manifest.files}
    if manifest.engine.base or "model" not in roles:
        return
    try:
        need = ram_need(manifest, roles["model"], roles.get("adapter")).total_bytes
    except PackageError as error:
        yield Finding("error", "model", _plain(error, folder))
        return
    if not manifest.needs.ram_bytes:
        yield Finding(
            "warning", "needs.ram_bytes", f"was never measured (computed: {need})",
            "python -m tools.expert test prints what to write",
        )  # fmt: skip
    elif manifest.needs.ram_bytes > 2 * need:
        yield Finding(
            "warning", "needs.ram_bytes",
            f"{manifest.needs.ram_bytes}, twice what the model takes by its header ({need})",
            "measure again: python -m tools.expert test",
        )  # fmt: skip


def _words(manifest: Manifest) -> Iterator[Finding]:
    """Look at what is said to people."""
    words = [word for word in re.split(r"[\s()]+", manifest.licence) if word]
    names, between = words[::2], words[1::2]
    if (
        len(names) != len(between) + 1
        or not all(map(_SPDX.fullmatch, names))
        or not _LINKS.issuperset(between)
    ):
        yield Finding(
            "error", "licence", f"{manifest.licence!r} is no SPDX expression",
            "see https://spdx.org/licenses, or write LicenseRef-NAME",
        )  # fmt: skip
    for word in names:
        if word not in LICENCES and not word.startswith("LicenseRef-"):
            yield Finding("warning", "licence", f"{word!r} is unusual", "is it spelt as SPDX does?")
    if manifest.summary == SUMMARY:
        yield Finding("warning", "summary", "is still the template's", "say what it answers")
    for key in ("data", "limits"):
        if not getattr(manifest.card, key):
            yield Finding("warning", f"card.{key}", "is empty", "owners decide by it")
    if not manifest.card.figures:
        yield Finding("warning", "card.figures", "says nothing measured", "how good is it?")
    names = {entry.name for entry in entry_points(group="aiosd.engines")}
    if manifest.engine.name not in names | {"tflite"}:
        yield Finding(
            "warning", "engine.name", f"no engine {manifest.engine.name!r} is installed here",
            f"known: {', '.join(sorted(names))}",
        )  # fmt: skip


def _proof(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    """Look at self-tests and at what the router learns."""
    cases = manifest.self_test.cases
    if not cases:
        yield Finding("error", "self_test", "has no cases: boards test a release before it serves")
    elif manifest.self_test.pass_mark == 0:
        yield Finding("error", "self_test.pass_mark", "0 lets any answer pass")
    for number, case in enumerate(cases):
        given = (case.text, case.file, case.values, case.json)
        if sum(each is not None for each in given) != 1:
            yield Finding(
                "error",
                f"self_test.cases[{number}]",
                "needs exactly one of text, file, values, json",
            )
        if LABEL in case.expect.values():
            yield Finding(
                "warning", f"self_test.cases[{number}].expect",
                "is still the template's: it always fails", "what must the answer be?",
            )  # fmt: skip
        if not case.expect:
            yield Finding(
                "error", f"self_test.cases[{number}].expect", "is empty: it always passes"
            )
    routing = manifest.routing
    heard = manifest.input.type in (InputType.TEXT, InputType.CHAT)
    if heard and manifest.task != "echo" and not (routing.utterances or routing.examples):
        yield Finding(
            "warning", "routing", "no utterances: only who names the expert reaches it",
            "add some, and some that it must refuse",
        )  # fmt: skip
    if not (folder / "README.md").exists():
        yield Finding("warning", "README.md", "is missing", "it is the model's card")


def fix(folder: Path) -> list[str]:
    """Write the sizes and digests of the files that are there into `expert.toml`; say which.

    Only lines of `[[files]]` tables are touched.
    """
    path = folder / MANIFEST
    lines = path.read_text(encoding="utf-8").splitlines()
    changed: list[str] = []
    begin = [number for number, line in enumerate(lines) if line.strip() == "[[files]]"]
    for start in begin:
        end = start + 1
        while end < len(lines) and not lines[end].lstrip().startswith("["):
            end += 1
        named = [re.match(r'\s*path\s*=\s*"([^"/]+)"', line) for line in lines[start:end]]
        name = next((each[1] for each in named if each), "")
        place = folder / name
        if not name or not place.is_file():
            continue
        data = place.read_bytes()
        facts = {"size": str(len(data)), "sha256": f'"{hashlib.sha256(data).hexdigest()}"'}
        for key, value in facts.items():
            for number in range(start, end):
                if re.match(rf"\s*{key}\s*=", lines[number]):
                    fresh = f"{key} = {value}"
                    if lines[number].strip() != fresh:
                        lines[number] = fresh
                        changed.append(f"{name}: {fresh}")
    if changed:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return changed
