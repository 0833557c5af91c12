"""What a run of a slot filler says for itself: teacher and students by the held-out sentences."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gguf
import numpy as np

from tools.distill import packing, report
from tools.distill.engine import measure
from tools.distill.fault import DistillError
from tools.distill.proof import Contender, Proof, Right, by_slice, gain
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.spec import SlotLm
from tools.distill.teachers.spec import SlotTagger
from tools.train import card
from tools.train.home_command.engine import Answer
from tools.train.home_command.evaluation import gold_of
from tools.train.home_command.figures import Gold, failure_class, summary
from tools.train.home_command.labels import Example, Span

ALONE = "labels-alone"
SAMPLE = "turn the kitchen lights to 40 percent"
GROUPS = {
    "hwu64": "HWU64",
    "snips": "SNIPS",
    "ha-names": "Home Assistant, seen templates, unseen names",
    "ha-template": "Home Assistant, unseen templates and names",
    "other": "other (CLINC150, BANKING77)",
}
Told = tuple[str, tuple[Span, ...]]
"""What a teacher says of a sentence: its intent and slots."""


@dataclass(frozen=True)
class Judge:
    """Holds what was said against what is right; writes the package's manifest and the cards."""

    recipe: Recipe
    spec: SlotLm
    book: RunBook
    words: Path
    test: Sequence[Example]

    @cached_property
    def golds(self) -> list[Gold]:
        """The held-out sentences with what should be said of them."""
        return [gold_of(each) for each in self.test]

    def prove(self, told: Sequence[Told], said: Mapping[str, Sequence[Answer]]) -> Proof:
        """Judge the teacher by what it told and the students by what they said.

        Raises:
            DistillError: the model is larger than the recipe allows.
        """
        golds, folder = self.golds, self.book.package
        right = {"teacher": np.array([
            intent == one.intent and spans == one.spans
            for (intent, spans), one in zip(told, self.test, strict=True)
        ])}  # fmt: skip
        intents = {"teacher": float(np.mean([
            intent == one.intent for (intent, _), one in zip(told, self.test, strict=True)
        ]))}  # fmt: skip
        valid = {}
        for name, answers in said.items():
            right[name] = np.array([
                not failure_class(gold, answer) for gold, answer in zip(golds, answers, strict=True)
            ])  # fmt: skip
            intents[name] = float(np.mean([
                gold.intent == answer.intent for gold, answer in zip(golds, answers, strict=True)
            ]))  # fmt: skip
            valid[name] = float(np.mean([answer.valid for answer in answers]))
            self.book.write(f"{name}.answers.json", _plain_figures(golds, answers))
        measured = self._package(folder, [])
        proof = self._proof(right, (intents, valid), measured)
        self._package(folder, report.figures(proof))
        self._write_card(folder, proof)
        return proof

    def _package(self, folder: Path, figures: Sequence[card.Measured]) -> dict[str, float | str]:
        """Write the manifest; without figures, measure the package in a daemon of its own.

        The router's texts are those of the package that the start is from.
        """
        packing.write_package(
            folder,
            self.words / self.recipe.package.words,
            {
                "figures": card.figure_tables(figures),
                "name": self.recipe.name,
                "release": str(self.recipe.package.release),
                "architecture": _architecture(self.spec, folder / f"{self.recipe.name}.gguf"),
            },
            [*Path(self.spec.start).parent.glob("*.tsv")],
        )
        return {} if figures else measure(folder, SAMPLE)

    def _proof(
        self,
        right: dict[str, Right],
        others: tuple[dict[str, float], dict[str, float]],
        measured: dict[str, float | str],
    ) -> Proof:
        (intents, valid), golds = others, self.golds
        contenders = {
            name: Contender(
                name,
                int(rows.sum()),
                len(rows),
                {"intent accuracy": intents[name]}
                | ({"valid JSON": valid[name]} if name in valid else {}),
            )
            for name, rows in right.items()
        }
        if float(measured["bytes"]) > self.recipe.package.max_bytes:
            raise DistillError(
                f"the model has {measured['bytes']} bytes, the recipe allows "
                f"{self.recipe.package.max_bytes}"
            )
        commands = np.array([gold.group != "other" for gold in golds])
        over = gain(right["distilled"][commands], right[ALONE][commands])
        without = (
            f"Without `other`: {100 * over.value:+.2f} points over labels alone "
            f"({100 * over.low:+.2f} to {100 * over.high:+.2f}), n = {int(commands.sum())}."
        )
        start = Path(self.spec.start)
        with_what = "weights of chance and the tokenizer" if self.spec.width else "the weights"
        if self.spec.times != (1, 1):
            with_what += " (widened: channels {} times, units {} times)".format(*self.spec.times)
        began = (
            f"Both students began with {with_what} of {start.name}, sha256 {_digest(start)}, "
            f"and shared the first {self.spec.shared} epochs."
        )
        return Proof(
            self.recipe.name,
            self.recipe.task,
            f"{len(golds)} sentences held out: {', '.join(GROUPS.values())}",
            "exact match",
            contenders["teacher"],
            contenders["distilled"],
            contenders[ALONE],
            gain(right["distilled"], right[ALONE]),
            gain(right["distilled"], right["teacher"]),
            by_slice(
                [GROUPS[gold.group] for gold in golds],
                right["teacher"],
                right["distilled"],
                right[ALONE],
            ),
            measured,
            [without, began],
        )

    def _write_card(self, folder: Path, proof: Proof) -> None:
        asks = self.recipe.teacher
        assert isinstance(asks, SlotTagger)  # noqa: S101 - a slot filler's teacher is one
        how = report.how(self.recipe, f"{asks.path}, fitted to the labels", "")
        text = f"# {self.recipe.name}\n\n{report.markdown(proof)}\n\n{how}\n"
        (folder / "README.md").write_text(text, encoding="utf-8")
        self.book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
        print(report.markdown(proof))


def _plain_figures(golds: Sequence[Gold], answers: Sequence[Answer]) -> str:
    return json.dumps(summary(golds, answers), indent=1, ensure_ascii=False) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _architecture(spec: SlotLm, model: Path) -> str:
    weights = sum(int(np.prod(each.shape)) for each in gguf.GGUFReader(model).tensors)
    return f"llama, prompt read both ways, {weights / 1e6:.2f} M weights, {spec.quantization}"
