"""Gathers what people ask of assistants, unlabelled, for `tools/train/meanings.py` to learn from.

    python -m tools.train.utterances --clones DIR --wheels DIR --out FILE

DIR of clones has public repositories as `owner+name` (a git directory, or a work tree beside its
`.git`), at the commits that `aiosd/fitter/meanings.md` names; DIR of wheels the skills of OVOS from
PyPI. One text a line goes out, of each source as many as `MOST` says, drawn with a fixed seed.
What CLINC150 or `routing_dev.jsonl` ask in the same words is dropped by `meanings.py`.
"""

import argparse
import json
import random
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tools.train.meanings import bare

# Source: how many texts of it. What one source says a thousand times teaches nothing new.
MOST = {"dialogues": 12_000, "bots": 10_000, "questions": 9_000, "rasa": 1_000, "ovos": 1_500}
FEWEST_WORDS, MOST_WORDS = 3, 18
_SEED = 3
_EACH_INTENT, _EACH_TEMPLATE = 40, 3

_DIALOGUES = "google-research-datasets+dstc8-schema-guided-dialogue"
_QUESTIONS = "google-research-datasets+query-wellformedness"
_BOTS = ("solutions", "cli", "skills")
_RASA = ("RasaHQ+NLU-training-data", "RasaHQ+financial-demo")
_ENGLISH = re.compile(
    r"(?i)(/en-us/|/en/|resources/data/LU/).*\.(lu|qna)$|english/.*\.qna$",
)
_OTHER_TONGUES = re.compile(r"chinese|french|german|spanish|italian")
_BULLET = re.compile(r"(?:-|#+ \?)\s+(.*)")
_NAMED = re.compile(r"\{@?[\w.]+\s*=\s*([^{}]*)\}")
_NO_REQUEST = re.compile(r"https?:|[\[\]|^*]")
_EXAMPLE = re.compile(r"\s+- (?!intent|lookup|regex|synonym)(.*)")
_MARKED = re.compile(r"\[([^\]]*)\](\([^)]*\)|\{[^}]*\})")
_CHOICE = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clones: Path = options.clones
    bots = [clones / f"microsoft+botframework-{name}" for name in _BOTS]
    sources = {
        "dialogues": _dialogues(clones / _DIALOGUES),
        "bots": (text for bot in bots for text in _bot(bot)),
        "questions": _questions(clones / _QUESTIONS),
        "rasa": (text for name in _RASA for text in _rasa(clones / name)),
        "ovos": _ovos(options.wheels),
    }
    taken: set[str] = set()
    found: list[str] = []
    for name, texts in sources.items():
        drawn = draw(texts, MOST[name], taken)
        print(f"{name}: {len(drawn)}", flush=True)
        found += drawn
    options.out.write_text("".join(f"{text}\n" for text in found), encoding="utf-8")


def draw(texts: Iterator[str], most: int, taken: set[str]) -> list[str]:
    """Return at most so many of the texts, each once and none whose form is taken; takes theirs."""
    apart: dict[str, str] = {}
    for text in texts:
        line = " ".join(text.split())
        form = bare(line)
        if FEWEST_WORDS <= len(line.split()) <= MOST_WORDS and line.isascii() and form not in taken:
            apart.setdefault(form, line)
    forms = sorted(apart)
    random.Random(_SEED).shuffle(forms)  # noqa: S311 - the same texts for the same seed
    taken.update(forms[:most])
    return [apart[form] for form in forms[:most]]


def _dialogues(clone: Path) -> Iterator[str]:
    """Yield what users say in the Schema-Guided Dialogue dataset."""
    for path in _paths(clone, re.compile(r"^(train|dev|test)/dialogues_\d+\.json$")):
        data = _show(clone, path)
        for dialogue in json.loads(data) if data else []:
            yield from (
                turn["utterance"] for turn in dialogue["turns"] if turn["speaker"] == "USER"
            )


def _questions(clone: Path) -> Iterator[str]:
    """Yield the questions of WikiAnswers that Google kept to tell how well they are formed."""
    for path in _paths(clone, re.compile(r"\.tsv$")):
        for line in _show(clone, path).splitlines():
            yield line.partition("\t")[0].replace(" ?", "?")


def _bot(clone: Path) -> Iterator[str]:
    """Yield the examples of Microsoft's assistants: lines of .lu and .qna files."""
    for path in _paths(clone, _ENGLISH):
        if _OTHER_TONGUES.search(path):
            continue
        for line in _show(clone, path).splitlines():
            bullet = _BULLET.match(line.strip())
            text, before = bullet[1] if bullet else "", ""
            while text != before:
                text, before = _NAMED.sub(r"\1", text), text
            if text and not _NO_REQUEST.search(text):
                yield re.sub(r"\{[^}]*\}", "it", text)


def _rasa(clone: Path) -> Iterator[str]:
    """Yield the examples of Rasa's files of intents, without the marks of what is named."""
    for path in _paths(clone, re.compile(r"nlu\.yml$")):
        for line in _show(clone, path).splitlines():
            example = _EXAMPLE.match(line)
            if example:
                yield _MARKED.sub(r"\1", example[1]).strip("\"' ")


def _ovos(wheels: Path) -> Iterator[str]:
    """Yield texts that the English templates of OVOS' skills make, some of each intent."""
    chance = random.Random(0)  # noqa: S311 - the same texts for the same seed
    for wheel in sorted(wheels.glob("ovos_skill_*.whl")):
        with zipfile.ZipFile(wheel) as opened:
            for name in sorted(opened.namelist()):
                if not re.search(r"(?i)en-us.*\.intent$", name):
                    continue
                lines = opened.read(name).decode("utf-8").splitlines()
                templates = [line.strip() for line in lines if line[:1] not in {"", "#"}]
                made = sorted(
                    {expand(line, chance) for line in templates for _ in range(_EACH_TEMPLATE)}
                )
                chance.shuffle(made)
                yield from made[:_EACH_INTENT]


def expand(template: str, chance: random.Random) -> str:
    """Return one text of a template: `(a|b)` is one of both, `[c]` may be left out, `{d}` is."""
    before = ""
    while template != before:
        before = template
        template = _CHOICE.sub(
            lambda part: chance.choice(
                part[1].split("|") if part[1] is not None else [*part[2].split("|"), ""]
            ),
            template,
        )
    return " ".join(re.sub(r"\{+\s*\w+\s*\}+", "", template).split())


def _paths(clone: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the paths of the clone's commit that have the pattern."""
    listed = _git(clone, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    return [path for path in listed if pattern.search(path)]


def _show(clone: Path, path: str) -> str:
    """Return the text of a file of the clone's commit; nothing where it was not copied along."""
    return _git(clone, "show", f"HEAD:{path}")


def _git(clone: Path, *arguments: str) -> str:
    """Return what git says, as text."""
    at = clone / "repo" if (clone / "repo").is_dir() else clone
    said = subprocess.run(
        ["git", "-C", str(at), *arguments],
        capture_output=True,
        check=False,
    )
    return said.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
