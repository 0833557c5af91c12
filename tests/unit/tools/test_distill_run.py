"""A whole run on a few sentences: data, teacher, two students, package, proof; and on again."""

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools.distill.fault import DataError, RecipeError

NEEDED = ("torch", "litert_torch", "sklearn", "ai_edge_quantizer")
THINGS = ("tea", "rain", "bread", "song", "lamp", "train", "moon", "shoe", "book", "fish")
RECIPE = """
name = "tiny"
task = "text.classify"
[data]
source = "rows"
path = "{rows}"
[teacher]
kind = "scikit"
bits = 12
[student]
kind = "text-classifier"
bits = 8
hidden = 0
[method]
names = ["logit-matching", "paraphrase", "curriculum"]
variants = 1
[training]
epochs = 12
[package]
words = "tiny.words.toml"
"""
WORDS = """
format = 1
name = "tiny"
release = @release@
summary = "Likes it or not."
licence = "CC0-1.0"
task = "text.classify"
[engine]
name = "litert"
[input]
type = "text"
@files@
@pre@
@post@
[needs]
ram_bytes = @ram_bytes@
[routing]
labels = @labels@
[[self_test.cases]]
text = "i love this tea"
expect = { label = "likes" }
[card]
teacher = "@teacher@"
architecture = "@architecture@"
@figures@
"""


def written(folder: Path, *more: str) -> Path:
    said = {"likes": ("i love this {}", "what a fine {}"), "hates": ("i hate this {}", "no {}!")}
    lines = [
        f"{split}\t{label}\t{form.format(thing)}"
        for label, forms in said.items()
        for form in forms
        for split, things in (("train", THINGS[:6]), ("tuning", THINGS[6:8]), ("held", THINGS[8:]))
        for thing in things
    ]
    rows = folder / "rows.tsv"
    rows.write_text("\n".join([*lines, *more]) + "\n")
    (folder / "tiny.words.toml").write_text(WORDS)
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(rows=rows))
    return recipe


def test_a_run_stops_before_training_where_held_out_rows_leak(tmp_path: Path) -> None:
    from tools.distill.pressing import Place, press  # noqa: PLC0415 - beside its use

    recipe = written(tmp_path, "held\tlikes\tI LOVE this tea")
    with pytest.raises(DataError, match="leaking"):
        press(Place(recipe, tmp_path, tmp_path / "run", tmp_path / "answers"))
    assert (tmp_path / "run" / "data.json").exists()
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_hint_of_some_of_the_logits_is_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    from tools.distill.pressing import Place, press  # noqa: PLC0415 - beside its use

    recipe = written(tmp_path)
    text = recipe.read_text().replace(
        'kind = "text-classifier"\nbits = 8\nhidden = 0',
        'kind = "phrase-classifier"\nencoder = "none"',
    )
    names = '["logit-matching", "paraphrase", "curriculum"]'
    recipe.write_text(text.replace(names, '["logit-matching", "hint"]\ntop_k = 1'))
    with pytest.raises(RecipeError, match=r"method\.top_k is 1, and there are 2 labels"):
        press(Place(recipe, tmp_path, tmp_path / "run", tmp_path / "answers"))
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
def test_a_recipe_becomes_a_package_that_passes_its_self_test(tmp_path: Path) -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the extra distill: no {', '.join(missing)}")
    from tools.distill.pressing import Place, press  # noqa: PLC0415 - needs the extra

    place = Place(written(tmp_path), tmp_path, tmp_path / "run", tmp_path / "answers")
    proof = press(place)
    assert proof.engine["self_tests"] == 1
    assert proof.student.count == 8
    card = (tmp_path / "run" / "package" / "README.md").read_text()
    assert "DOES NOT BEAT" in card or "beats" in card
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        again = press(place)
    assert again.student == proof.student
    assert again.over_labels == proof.over_labels
    assert "0 answered" in said.getvalue()
