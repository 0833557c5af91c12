"""The tree of arguments, its manual page, its exit codes and its completion scripts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aiosd.cli.completion import SHELLS, completion, verbs_of
from aiosd.cli.failure import CODES, MEANINGS, Exit
from aiosd.cli.main import main, make_parser
from aiosd.domain.errors import ErrorCode

VERBS = list(verbs_of(make_parser()))


@pytest.fixture(scope="module")
def page(repo: Path) -> str:
    return (repo / "docs" / "aiosctl.md").read_text(encoding="utf-8")


def test_the_page_has_every_verb(page: str) -> None:
    heads = " ".join(line for line in page.splitlines() if line.startswith("### "))
    assert [verb.name for verb in VERBS if not re.search(rf"\b{verb.name}\b", heads)] == []


def test_the_page_has_every_option(page: str) -> None:
    names = {name for verb in VERBS for name, _ in verb.options}
    assert [name for name in sorted(names) if not re.search(rf"`{name}[ `]", page)] == []


def test_the_page_has_no_option_that_does_not_exist(page: str) -> None:
    names = {name for verb in VERBS for name, _ in verb.options} | {"--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) - names == set()


def test_the_page_and_help_have_every_exit_code(page: str) -> None:
    shown = dict(re.findall(r"^\| (\d+) \|[^|]*\| (.*) \|$", page, re.MULTILINE))
    assert shown == {str(int(code)): text for code, text in MEANINGS.items()}
    assert set(MEANINGS) == set(Exit)
    help_text = make_parser().format_help()
    assert all(f"{int(code):>3}  " in help_text for code in Exit)


def test_every_error_of_the_wire_has_an_exit_code_of_its_own() -> None:
    assert set(CODES) == set(ErrorCode)
    assert len(set(CODES.values())) == len(ErrorCode)


def test_help_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in make_parser().format_help().splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["run", "--expert"], ["run", "x", "--dead", "1"]]
)
def test_a_wrong_command_line_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == Exit.USAGE


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_knows_every_verb_and_option(shell: str) -> None:
    script = completion(shell, make_parser())
    for verb in VERBS:
        assert re.search(rf"\b{verb.name}\b", script)
        for name, _ in verb.options:
            assert name.removeprefix("--") in script
        for word in verb.words:
            assert word in script


def test_bash_completes_verbs_and_options(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    script = tmp_path / "aiosctl.bash"
    script.write_text(completion("bash", make_parser()), encoding="utf-8")
    asked = (
        f"source {script}; COMP_WORDS=(aiosctl un); COMP_CWORD=1; _aiosctl; echo ${{COMPREPLY[@]}};"
        "COMP_WORDS=(aiosctl run --min); COMP_CWORD=2; _aiosctl; echo ${COMPREPLY[@]};"
        "COMP_WORDS=(aiosctl store ''); COMP_CWORD=2; _aiosctl; echo ${COMPREPLY[@]:0:3}"
    )
    done = subprocess.run([bash, "-ec", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["unload unpin", "--min-p", "verify gc du"]
