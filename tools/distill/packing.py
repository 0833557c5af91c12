"""The package at the end of a run: the model, the manifest from its template, and the card."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from aiosd.domain.step import Step
from tools.distill.fault import RecipeError
from tools.train import card

_MARK = re.compile(r"@([a-z_]+)@")


def write_package(
    folder: Path, template: Path, values: Mapping[str, str], beside: Sequence[Path] = ()
) -> None:
    """Write `expert.toml` from its template; the model and labels are there already.

    `beside` are files that go along: what the router learns, files of self-tests.

    Raises:
        RecipeError: the template is not there, or has a mark that nothing fills.
    """
    for path in beside:
        shutil.copyfile(path, folder / path.name)
    try:
        text = template.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{template}: {error.strerror}") from None
    (folder / "expert.toml").write_text(
        fill(text, {**values, "files": file_tables(folder)}).rstrip() + "\n", encoding="utf-8"
    )


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each `@mark@`; a value without a mark is left out.

    Raises:
        RecipeError: a mark has no value.
    """
    missing = sorted(set(_MARK.findall(template)) - set(values))
    if missing:
        raise RecipeError(f"nothing fills {', '.join(missing)} of the template")
    return _MARK.sub(lambda found: values[found[1]], template)


def file_tables(folder: Path) -> str:
    """Return the `[[files]]` tables of all that is in the folder, the model first."""
    models = [path for path in folder.iterdir() if path.suffix in (".tflite", ".gguf")]
    others = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path not in models
        and path.name not in ("expert.toml", "README.md")
        and not path.name.startswith(".")
    )
    tables = [card.file_table(path, "model") for path in models]
    return "\n".join(tables + [card.file_table(path) for path in others])


def steps(table: str, found: Sequence[Step]) -> str:
    """Return the `[[pre]]` or `[[post]]` tables."""
    return card.step_tables(table, [step for step in found if isinstance(step, msgspec.Struct)])


def label_list(labels: Sequence[str]) -> str:
    """Return the labels as a TOML list, one a line."""
    return "[\n" + "".join(f"  {card.quote(label)},\n" for label in labels) + "]"
