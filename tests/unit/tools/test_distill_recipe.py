"""Recipes are strict, and what they ask for must go together."""

from pathlib import Path

import pytest

from tools.distill.fault import RecipeError
from tools.distill.methods import METHODS
from tools.distill.packing import fill
from tools.distill.recipe import read_recipe
from tools.distill.spec import StudentSpec

RECIPES = Path(__file__).resolve().parents[3] / "tools" / "distill" / "recipes"
SHIPPED = sorted(path for path in RECIPES.glob("*.toml") if ".words" not in path.name)
PLAIN = """
name = "tiny"
task = "text.classify"
[data]
source = "rows"
path = "rows.tsv"
[teacher]
kind = "scikit"
[student]
kind = "text-classifier"
bits = 10
hidden = 0
[method]
names = ["logit-matching"]
[training]
epochs = 2
[package]
words = "tiny.words.toml"
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    return read_recipe(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_read_and_its_words_are_there(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert isinstance(recipe.student, StudentSpec)
    assert (RECIPES / recipe.package.words).is_file()


def test_there_are_shipped_recipes() -> None:
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 2", "epochs = 2\nepoch = 3", "epoch"),
        ('kind = "scikit"', 'kind = "sciket"', "sciket"),
        ("epochs = 2", "epochs = 0", "epochs"),
        ('names = ["logit-matching"]', 'names = ["logit-matchin"]', "names"),
        ('names = ["logit-matching"]', "names = []", "method.names"),
        (
            'kind = "text-classifier"\nbits = 10\nhidden = 0\n[method]\nnames = ["logit-matching"]',
            'kind = "convolution"\n[method]\nnames = ["paraphrase"]',
            "paraphrase does not fit",
        ),
        (
            'words = "tiny.words.toml"',
            'words = "tiny.words.toml"\nprecise = 0.9\nnone_measure = "energy"',
            "none_measure",
        ),
        ('names = ["logit-matching"]', 'names = ["hint"]', "hint does not fit"),
        ('names = ["logit-matching"]', 'names = ["logit-matching"]\nhint = 0.0', "method.hint"),
        ('name = "tiny"', 'name = "Tiny Model"', "name"),
        *(
            (
                'kind = "text-classifier"\nbits = 10\nhidden = 0',
                f'kind = "slot-lm"\nstart = "a.gguf"\nwidth = 64\n{key}',
                "with width there are none",
            )
            for key in ("times = [2, 1]", "new_layers = [0]")
        ),
        ("[data]", "[data", "tiny.toml"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said.replace(".", r"\.")):
        read(tmp_path, PLAIN.replace(old, new))


def test_an_offset_is_for_a_text_classifier_without_hidden_units(tmp_path: Path) -> None:
    asked = PLAIN + "offset = true\n"
    assert read(tmp_path, asked)
    with pytest.raises(RecipeError, match=r"package\.offset"):
        read(tmp_path, asked.replace("hidden = 0", "hidden = 8"))


def test_a_recipe_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        read_recipe(tmp_path / "none.toml")


def test_notes_make_no_other_run_and_a_seed_does(tmp_path: Path) -> None:
    plain = read(tmp_path, PLAIN)
    noted = read(tmp_path, 'notes = "later"\n' + PLAIN)
    other = read(tmp_path, "seed = 9\n" + PLAIN)
    assert plain.digest() == noted.digest() != other.digest()  # type: ignore[attr-defined]


def test_every_method_has_a_source_and_somebody_who_does_it() -> None:
    for method in METHODS.values():
        assert any(year in method.source for year in map(str, range(2009, 2027)))
        assert method.students
        assert method.by


def test_a_template_with_a_mark_that_nothing_fills_is_refused() -> None:
    assert fill("a @b@ c", {"b": "x", "unused": "y"}) == "a x c"
    with pytest.raises(RecipeError, match="figures"):
        fill("@figures@", {})
