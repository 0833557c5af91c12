"""The n-gram model that `assistant-intent` was up to release 2: CLINC150 → two dense layers.

The bundled package is the distillery's (`tools/distill/recipes/assistant-intent.toml`); this one is
what it is held against, and `--evaluate` judges either.

Run `python -m tools.train.assistant_intent --assets DIR --out FOLDER` to build such a package, or
`… --evaluate FILE.json --out FOLDER` to judge one on other sentences: a map with lists of
`[text, intent]` under `val` and `oos_val` (or `test` and `oos_test`).

Protocol: the lists `train` and `oos_train` are learned from. Temperature and the threshold of
"none" come from a sibling model that lacks up to ten sentences of each intent, half of them drawn
from all and half from those that resemble no other; the model itself then learns from all.
Features and sizes were chosen on a fifth of `train`, drawn by seed 7. CLINC's `val` and `oos_val`
are learned from by nobody; the README says how often they were measured.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

from aiosd.domain.post_steps import ScoresSoftmax, ScoresTopK
from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize
from aiosd.domain.step import Step
from tools.distill.calibrating import sureness
from tools.train import card
from tools.train.bags import Bags, Recipe, train
from tools.train.checks import Checked, check
from tools.train.features import features
from tools.train.package import LIBRARIES, TextPackage, calibration_error, softmax
from tools.train.splits import carve, sample, twins_by_class
from tools.train.tflite import RowScaledLinear, write_tflite

BITS = 14
SEED_CARVE = 7
CARVED = 5
RETAINED = 0.95
STEPS: tuple[Step, ...] = (
    TextNormalize(lower=True, max_chars=1000),
    TextHashNgrams(bits=BITS, chars=[2, 5], words=[1, 2], weight="binary"),
)
RECIPE = Recipe(hidden=128, epochs=20)


@dataclass(frozen=True)
class Sentences:
    """Sentences with the number of their intent; -1 is none of them."""

    texts: list[str]
    intents: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> "Sentences":
        """Return the sentences that `mask` marks."""
        return Sentences(
            [text for text, keep in zip(self.texts, mask, strict=True) if keep], self.intents[mask]
        )


def read_sentences(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> Sentences:
    """Take `[text, intent]` pairs; an intent that `labels` lacks becomes -1."""
    number = {label: place for place, label in enumerate(labels)}
    return Sentences(
        [text for text, _ in rows],
        np.array([number.get(label, -1) for _, label in rows], np.int64),
    )


def dense_net(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> torch.nn.Module:
    """Return the network of dense layers with ReLU between, as it is converted to TFLite."""
    parts: list[torch.nn.Module] = []
    for weight, bias in layers:
        parts += [RowScaledLinear(weight, bias), torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1])


def temperature_of(logits: NDArray[np.float32], intents: NDArray[np.int64]) -> float:
    """Return the temperature that makes the true intents most likely (Guo et al. 2017)."""

    def loss(temperature: float) -> float:
        shares = softmax(logits, temperature)[np.arange(len(intents)), intents]
        return float(-np.log(np.maximum(shares, 1e-12)).mean())

    return round(float(minimize_scalar(loss, bounds=(0.05, 5.0), method="bounded").x), 4)


def measure(
    model: TextPackage, inside: Sentences, outside: Sentences, name: str
) -> list[card.Measured]:
    """Return the figures of the package on sentences of an intent and of none."""
    softening, choice = model.manifest.post
    if not isinstance(softening, ScoresSoftmax) or not isinstance(choice, ScoresTopK):
        raise TypeError("the package's post steps are not softmax and top-k")
    logits, strange = model.many(inside.texts), model.many(outside.texts)
    shares = softmax(logits, softening.temperature)
    said, best = shares.argmax(axis=1), shares.max(axis=1)
    sure, others = (
        sureness(each, softening.temperature, choice.none_measure) for each in (logits, strange)
    )
    right, limit = said == inside.intents, choice.none_below or 0.0
    kept, count = sure >= limit, len(inside.texts)
    among = np.argsort(-shares, axis=1)[:, :5] == inside.intents[:, None]
    known = np.concatenate([np.ones(count), np.zeros(len(others))])
    area = float(roc_auc_score(known, np.concatenate([sure, others])))
    error = calibration_error(best, right)
    return [
        card.share("accuracy", int(right.sum()), count, name),
        card.share("accuracy with none", int((right & kept).sum()), count, name),
        card.share("top-5 accuracy", int(among.any(axis=1).sum()), count, name),
        card.share("kept in scope", int(kept.sum()), count, name),
        card.share("out of scope found", int((others < limit).sum()), len(others), name),
        card.Measured("out-of-scope AUROC", round(area, 4), name, count + len(others)),
        card.Measured("calibration error", round(error, 4), name, count),
    ]


def checked(model: TextPackage, inside: Sentences, outside: Sentences, name: str) -> Checked:
    """Return how often an answer passes the package's check, and is wrong then.

    What is of no intent and passes is wrong.
    """
    softening = model.manifest.post[0]
    if not isinstance(softening, ScoresSoftmax):
        raise TypeError("the package's first post step is not softmax")
    shares = softmax(model.many([*inside.texts, *outside.texts]), softening.temperature)
    truth = np.concatenate([inside.intents, np.full(len(outside.texts), -1)])
    return check(shares.max(axis=1), shares.argmax(axis=1) == truth, name)


def domain_lines(model: TextPackage, inside: Sentences, assets: Path) -> list[str]:
    """Return the accuracy on each of CLINC150's ten domains as lines for people."""
    path = assets / "text" / "clinc150" / "domains.json"
    domains: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    labels = sorted(label for members in domains.values() for label in members)
    right = model.many(inside.texts).argmax(axis=1) == inside.intents
    lines = []
    for domain, members in domains.items():
        mine = np.isin(inside.intents, [labels.index(label) for label in members])
        lines.append(card.share(domain, int(right[mine].sum()), int(mine.sum()), "right").line())
    return lines


def fit(known: Sentences, foreign: Sentences, out: Path, labels: Sequence[str]) -> None:
    """Train on these sentences and write the model and a package around it."""
    net = train(
        Bags(features(known.texts, STEPS)),
        known.intents,
        Bags(features(foreign.texts, STEPS)),
        1 << BITS,
        RECIPE,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_tflite(dense_net(net.layers()), [(1, 1 << BITS)], out / "model.tflite")
    (out / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")


def tune(known: Sentences, foreign: Sentences, labels: Sequence[str]) -> tuple[Step, ...]:
    """Return the post steps: temperature and threshold of a sibling that lacks a few sentences."""
    groups = twins_by_class(known.texts, known.intents)
    carved = carve(groups, known.intents, CARVED, SEED_CARVE)
    carved |= sample(known.intents, CARVED, SEED_CARVE)
    with TemporaryDirectory() as folder:
        sibling = Path(folder)
        fit(known.where(~carved), foreign, sibling, labels)
        write_manifest(sibling, (ScoresSoftmax(), ScoresTopK(file="labels.txt")), [], "")
        logits = TextPackage(sibling).many(known.where(carved).texts)
    temperature = temperature_of(logits, known.intents[carved])
    best = softmax(logits, temperature).max(axis=1)
    limit = round(float(np.quantile(best, 1.0 - RETAINED)), 4)
    return (
        ScoresSoftmax(temperature=temperature),
        ScoresTopK(k=5, file="labels.txt", none_below=limit, none_measure="score"),
    )


def build(assets: Path, out: Path) -> None:
    """Rebuild the package in `out` and print its figures."""
    lists = json.loads((assets / "text" / "clinc150" / "train.json").read_text(encoding="utf-8"))
    labels = sorted({label for _, label in lists["train"]})
    known, foreign = (read_sentences(lists[name], labels) for name in ("train", "oos_train"))
    post = tune(known, foreign, labels)
    fit(known, foreign, out, labels)
    write_manifest(out, post, [], "")
    package = TextPackage(out)
    inside, outside = (read_sentences(lists[name], labels) for name in ("val", "oos_val"))
    figures = measure(package, inside, outside, "CLINC150 val and oos_val")
    sure = checked(package, inside, outside, "CLINC150 val and oos_val")
    figures += sure.figures()
    write_manifest(out, post, figures, sure.table())
    print("\n".join(figure.line() for figure in figures))
    print("\n".join(domain_lines(package, inside, assets)))


def write_manifest(
    out: Path, post: Sequence[Step], figures: Sequence[card.Measured], sure: str
) -> None:
    """Write `expert.toml` from its template, the files in `out`, the figures and the check."""
    template = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    labels = (out / "labels.txt").read_text(encoding="utf-8").split()
    files = [card.file_table(out / "model.tflite", "model"), card.file_table(out / "labels.txt")]
    # What the router learns is drawn by tools/train/routing_texts.py.
    files += [card.file_table(each) for each in sorted(out.glob("*.tsv"), reverse=True)]
    values = {
        "files": "\n".join(files),
        "pre": card.step_tables("pre", STEPS),
        "post": card.step_tables("post", post),
        "labels": "[\n" + "".join(f"  {card.quote(label)},\n" for label in labels) + "]",
        "architecture": (
            f"hashed 2-5 letter and 1-2 word n-grams, 2^{BITS} places, "
            f"{RECIPE.hidden} hidden units, {len(labels)} intents, int8 weights"
        ),
        "figures": card.figure_tables(figures),
        "check": sure,
    }
    (out / "expert.toml").write_text(card.fill(template, values).rstrip() + "\n", encoding="utf-8")


def evaluate(path: Path, package: Path) -> None:
    """Print the figures of a package on a file of sentences, in each library there is."""
    lists = json.loads(path.read_text(encoding="utf-8"))
    labels = (package / "labels.txt").read_text(encoding="utf-8").split()
    part = "test" if "test" in lists else "val"
    inside, outside = (read_sentences(lists[name], labels) for name in (part, f"oos_{part}"))
    for library in LIBRARIES:
        try:
            model = TextPackage(package, library)
        except ImportError:
            print(f"{library} is not installed: skipped")
            continue
        print(library, f"{model.microseconds(inside.texts[0]):.0f} us an answer")
        figures = measure(model, inside, outside, f"{path.name} {part}")
        sure = checked(model, inside, outside, f"{path.name} {part}")
        print("\n".join(each.line() for each in [*figures, *sure.figures()]))


def main(arguments: Sequence[str]) -> None:
    """Read the command line and build or evaluate."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.assistant_intent", description=__doc__
    )
    parser.add_argument("--assets", type=Path, help="folder that holds text/clinc150/train.json")
    parser.add_argument("--out", type=Path, required=True, help="folder of the package")
    parser.add_argument("--evaluate", type=Path, metavar="JSON", help="judge --out on this file")
    chosen = parser.parse_args(arguments)
    if chosen.evaluate:
        evaluate(chosen.evaluate, chosen.out)
    elif chosen.assets:
        build(chosen.assets, chosen.out)
    else:
        parser.error("give --assets to build or --evaluate to judge")


if __name__ == "__main__":
    main(sys.argv[1:])
