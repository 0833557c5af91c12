"""One run from recipe to package and proof; each stage goes on where an earlier run was ended."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiosd.domain.post_steps import ScoresSoftmax, ScoresTopK
from aiosd.domain.step import Step
from tools.distill import calibrating, checks, packing, report
from tools.distill.asking import ClassTeacher, Patience, Told, ask
from tools.distill.curriculum import difficulty
from tools.distill.curves import draw
from tools.distill.engine import Judge, measure
from tools.distill.fault import DistillError, RecipeError
from tools.distill.logit_cache import LogitCache
from tools.distill.progress import Progress
from tools.distill.proof import Contender, Proof, by_set, by_slice, calibration_error, gain
from tools.distill.recipe import Recipe, read_recipe
from tools.distill.run_book import RunBook
from tools.distill.sources import load
from tools.distill.students.opening import open_student
from tools.distill.table import NONE, Input, Material, Table, key_of
from tools.distill.teachers.opening import open_teacher
from tools.distill.teachers.spec import Endpoint, Litert
from tools.distill.top_k import softmax
from tools.distill.training import Checkpoint, Learner, learn
from tools.distill.widening import widen
from tools.train.checks import Checked, check

BUNDLED = Path("experts")


@dataclass(frozen=True)
class Place:
    """Where things are: the recipe, the assets, the run's folder and the cache of answers."""

    recipe: Path
    assets: Path
    out: Path
    cache: Path
    device: Literal["auto", "cpu", "cuda"] = "cpu"


def press(place: Place) -> Proof:
    """Run the recipe to its end, or on from where it was ended; return the proof.

    Raises:
        DistillError: the run cannot go on; the message says what to change.
    """
    recipe = read_recipe(place.recipe)
    book = RunBook(place.out, place.recipe.read_text(encoding="utf-8"), recipe.digest())
    if recipe.student.kind == "series":
        from tools.distill.anomaly import press_series  # noqa: PLC0415 - torch

        return press_series(recipe, book, place.assets)
    if recipe.student.kind == "causal-lm":
        from tools.distill.language import press_language  # noqa: PLC0415 - torch

        return press_language(
            recipe, book, place.recipe.parent, place.assets, place.cache, place.device
        )
    if recipe.student.kind == "static-table":
        from tools.distill.word_table import press_table  # noqa: PLC0415 - needs numpy

        return press_table(recipe, book, place.assets)
    if recipe.student.kind == "slot-lm":
        from tools.distill.slots.flow import press_slots  # noqa: PLC0415 - torch

        return press_slots(recipe, book, place.recipe.parent, place.assets, place.device)
    material = load(recipe, place.assets)
    _hold_hint(recipe, material)
    findings = checks.check(material)
    book.write("data.json", json.dumps([asdict(each) for each in findings], indent=1) + "\n")
    for finding in findings:
        print(finding.line())
    checks.hold(findings, recipe.data.allow)
    began = time.monotonic()
    folder = place.cache / recipe.name
    teacher = open_teacher(recipe.teacher, material, place.assets, folder, recipe.seed)
    widened = widen(recipe, material, place.assets, book)
    run = _Run(recipe, book, material, widened, teacher, place)
    with run.cache:
        proof = run.prove()
    if "failed" in proof.engine:
        raise DistillError(f"the package fails its self-test: {proof.engine['failed']}")
    print(f"{time.monotonic() - began:.0f} s")
    return proof


def _hold_hint(recipe: Recipe, material: Material) -> None:
    """Refuse a hint of some of the logits.

    Raises:
        RecipeError: fewer are kept than there are labels.
    """
    kept, labels = recipe.method.top_k, len(material.labels)
    if "hint" in recipe.method.names and kept < labels:
        raise RecipeError(
            f"hint needs all of the teacher's logits: method.top_k is {kept}, and there are "
            f"{labels} labels"
        )


class _Run:
    """What the stages of one run share."""

    def __init__(
        self,
        recipe: Recipe,
        book: RunBook,
        material: Material,
        widened: tuple[Table, Table],
        teacher: ClassTeacher,
        place: Place,
    ) -> None:
        self.recipe, self.book, self.material, self.place = recipe, book, material, place
        self.kept, self.mixed = widened
        self.teacher = teacher
        self.student = open_student(recipe.student, material, place.assets)
        name = f"{teacher.fingerprint} top {recipe.method.top_k}"
        digest = key_of(name).hex()
        self.checked: Checked | None = None
        self.k = min(recipe.method.top_k, len(material.labels))
        self.cache = LogitCache(place.cache / recipe.name / f"{digest}.logits", name, self.k)

    def prove(self) -> Proof:
        """Do every stage that is not over, and write the card."""
        recipe, material = self.recipe, self.material
        learned = material.train + self.kept + material.transfer + self.mixed
        told = self._ask("teacher", learned.inputs)
        self._ask("teacher, held out", material.held.inputs)
        labelled = material.train + self.kept
        folders = {}
        for name, table, taught in (
            ("distilled", learned, True),
            ("labels-alone", labelled, False),
        ):
            folders[name] = self.book.folder / ("package" if taught else name)
            self._learn(name, table, folders[name], taught=taught)
        draw(self.book)
        rows = f"{len(material.train)} labelled rows, " + (
            f"{len(self.kept)} variants that keep a label, " if len(self.kept) else ""
        )
        rows += (
            f"{len(material.transfer)} other texts and {len(self.mixed)} variants that the teacher "
            "alone labelled."
        )
        proof = self._proof(folders)
        how = report.how(recipe, f"{self.teacher.fingerprint}; {told.line()}", rows)
        self._write_card(folders["distilled"], proof, how)
        return proof

    def _ask(self, title: str, inputs: Sequence[Input]) -> Told:
        spec = self.recipe.teacher
        patience = (
            Patience(spec.tries, spec.wait) if isinstance(spec, Endpoint) else Patience(2, 0.0)
        )
        told = ask(
            self.teacher,
            inputs,
            self.cache,
            self.k,
            patience=patience,
            progress=Progress(title),
        )
        print(f"{title}: {told.line()}")
        return told

    def _soft(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return the teacher's logits, NaN where it had nothing to say."""
        classes = len(self.material.labels)
        found = np.full((len(inputs), classes), np.nan, np.float32)
        for at, one in enumerate(inputs):
            answer = self.cache.get(key_of(one))
            if answer is not None and len(answer):
                found[at] = answer.logits(classes)[0]
        return found

    def _learn(self, name: str, table: Table, folder: Path, *, taught: bool) -> None:
        """Train one student (or take its last checkpoint) and write its package."""
        if self.book.is_over(name):
            return
        from tools.distill.students.loop import Lesson, TorchLearner  # noqa: PLC0415 - torch

        recipe = self.recipe
        training = recipe.training
        soft = self._soft(table.inputs) if taught else None
        if not taught and recipe.training.labels_epochs:
            training = msgspec.structs.replace(training, epochs=recipe.training.labels_epochs)
        hardness = None
        if soft is not None and "curriculum" in recipe.method.names:
            hardness = difficulty(softmax(np.nan_to_num(soft)), table.labels)
        net = self.student.net(recipe.seed)
        if taught and "slim" in recipe.method.names:
            self._slim(net)
        learner: Learner = TorchLearner(
            net,
            self.student.feed(table.inputs),
            Lesson(table.labels, soft, hardness),
            (training, recipe.method),
            recipe.seed,
        )
        learn(
            learner,
            training.epochs,
            Checkpoint(self.book.checkpoints / f"{name}.checkpoint"),
            lambda epoch, figures: self.book.add_point(name, epoch, figures),
            Progress(name),
        )
        self._pack(net, folder)
        self.book.stage(name, lambda: {"rows": len(table), "epochs": training.epochs})

    def _slim(self, net: Any) -> None:  # noqa: ANN401 - likewise
        """Put channels of the teacher into the net."""
        from tools.distill.students.slimming import read_whole, slim  # noqa: PLC0415 - torch

        if not isinstance(self.recipe.teacher, Litert):
            raise RecipeError("slim needs a teacher of kind litert, whose channels it takes")
        whole = read_whole(self.place.assets / self.recipe.teacher.path)
        slim(net, whole, self.material.train.inputs, self.recipe.seed)

    def _pack(self, net: Any, folder: Path) -> None:  # noqa: ANN401 - likewise
        folder.mkdir(parents=True, exist_ok=True)
        labels = self.material.labels
        (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
        samples = (
            self.material.train.inputs if "quantize-calibrated" in self.recipe.method.names else []
        )
        self.student.export(net, folder / "model.tflite", samples)
        self._manifest(folder, (ScoresSoftmax(), self._choice()), {})
        tuning = self.material.tuning
        mine = calibrating.of_set(tuning, self.recipe.package.calibrate_on)
        if self.recipe.package.offset:
            offset = calibrating.offset_of(Judge(folder).logits(mine.inputs), mine.labels)
            self.student.shift(net, offset)  # type: ignore[attr-defined] # held by read_recipe
            self.student.export(net, folder / "model.tflite", samples)
        logits = Judge(folder).logits(tuning.inputs)
        temperature = calibrating.temperature_of(Judge(folder).logits(mine.inputs), mine.labels)
        limit = None
        precise = self.recipe.package.precise
        if precise:
            limit = calibrating.sure_above(logits, tuning.labels, temperature, precise)
        elif (tuning.labels == NONE).any():
            measure = self.recipe.package.none_measure
            limit = calibrating.none_below(logits, tuning.labels, temperature, measure)
        post = (ScoresSoftmax(temperature=temperature), self._choice(limit))
        self._manifest(folder, post, {})

    def _choice(self, limit: float | None = None) -> ScoresTopK:
        k = min(5, len(self.material.labels))
        measure = self.recipe.package.none_measure
        return ScoresTopK(k=k, file="labels.txt", none_below=limit, none_measure=measure)

    def _manifest(self, folder: Path, post: Sequence[Step], values: dict[str, str]) -> None:
        template = self.place.recipe.parent / self.recipe.package.words
        bundled = BUNDLED / self.recipe.name
        beside = [*bundled.glob("*.tsv"), *template.parent.glob(f"{self.recipe.name}.case-*")]
        packing.write_package(
            folder,
            template,
            {
                "name": self.recipe.name,
                "pre": packing.steps("pre", self.student.pre),
                "post": packing.steps("post", post),
                "labels": packing.label_list(self.material.labels),
                "architecture": self.student.architecture,
                "teacher": _teacher_words(self.recipe),
                "figures": "",
                "check": "",
                "ram_bytes": "0",
                "release": str(self.recipe.package.release),
                **values,
            },
            beside,
        )

    def _proof(self, folders: dict[str, Path]) -> Proof:
        held = self.material.held
        known = held.labels > NONE
        truth = held.labels[known]
        soft = self._soft(held.inputs)
        said = {"teacher": np.nan_to_num(soft, nan=-1e3)}
        temperatures = {"teacher": 1.0}
        for name, folder in folders.items():
            judge = Judge(folder)
            said[name] = judge.logits(held.inputs)
            softening = judge.manifest.post[0]
            assert isinstance(softening, ScoresSoftmax)  # noqa: S101 - written by this very file
            temperatures[name] = softening.temperature
        right = {name: rows[known].argmax(axis=1) == truth for name, rows in said.items()}
        contenders = {
            name: Contender(
                name,
                int(right[name].sum()),
                len(truth),
                self._others(name, said[name], temperatures[name], right[name]),
            )
            for name in said
        }
        slices = [each for each, mine in zip(held.slices, known, strict=True) if mine]
        sample = self._sample()
        found = measure(folders["distilled"], sample) if sample else {}
        if found and float(found["bytes"]) > self.recipe.package.max_bytes:
            raise DistillError(
                f"the model has {found['bytes']:.0f} bytes, the recipe allows "
                f"{self.recipe.package.max_bytes}"
            )
        best = softmax(said["distilled"] / np.float32(temperatures["distilled"]))
        self.checked = check(
            best.max(axis=1), best.argmax(axis=1) == held.labels, self.material.named
        )
        return Proof(
            self.recipe.name,
            self.recipe.task,
            self.material.named,
            "accuracy",
            contenders["teacher"],
            contenders["distilled"],
            contenders["labels-alone"],
            gain(right["distilled"], right["labels-alone"], self.recipe.seed),
            gain(right["distilled"], right["teacher"], self.recipe.seed),
            by_slice(slices, right["teacher"], right["distilled"], right["labels-alone"]),
            found,
            sets=by_set(
                slices,
                (right["teacher"], right["distilled"], right["labels-alone"]),
                best[known].max(axis=1),
                self.recipe.seed,
            ),
        )

    def _others(
        self,
        name: str,
        logits: NDArray[np.float32],
        temperature: float,
        right: NDArray[np.bool_],
    ) -> dict[str, float]:
        """Return the calibration error and, where rows of no label are held out, the AUROC.

        The latter is of what the package holds against its threshold; of the teacher's answers only
        differences of logits are kept, so that it is judged by its best score.
        """
        known = self.material.held.labels > NONE
        scores = softmax(logits[known] / np.float32(temperature)).max(axis=1)
        found = {"calibration error": calibration_error(scores, right)}
        if (~known).any():
            measure = "score" if name == "teacher" else self.recipe.package.none_measure
            sure = calibrating.sureness(logits, temperature, measure)
            found["out-of-scope AUROC"] = calibrating.auroc(sure[known], sure[~known])
        return found

    def _sample(self) -> str | Path | None:
        """Return what the engine is timed with: a text, or a file beside the recipe."""
        first = self.material.held.inputs[0]
        if isinstance(first, str):
            return first
        found = sorted(self.place.recipe.parent.glob(f"{self.recipe.name}.case-*"))
        return found[0] if found else None

    def _write_card(self, folder: Path, proof: Proof, how: str) -> None:
        from tools.train import card  # noqa: PLC0415 - beside its use

        post = Judge(folder).manifest.post
        figures = report.figures(proof)
        sure = self.checked
        if sure is not None and sure.passed:
            figures += sure.figures()
        ram = int(float(proof.engine.get("ram_bytes", 0)))
        values = {
            "figures": card.figure_tables(figures),
            "ram_bytes": str(ram),
            "check": sure.table() if sure is not None and sure.passed else "",
        }
        self._manifest(folder, post, values)
        words = self.place.recipe.parent / f"{self.recipe.name}.md"
        body = (
            words.read_text(encoding="utf-8")
            if words.exists()
            else "# @name@\n\n@proof@\n\n@how@\n"
        )
        filled = packing.fill(
            body, {"name": self.recipe.name, "proof": report.markdown(proof), "how": how}
        )
        (folder / "README.md").write_text(filled.rstrip() + "\n", encoding="utf-8")
        self.book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
        print(report.markdown(proof))


def _teacher_words(recipe: Recipe) -> str:
    """Say in a line who the teacher is."""
    spec = recipe.teacher
    members = getattr(spec, "members", None)
    if isinstance(members, list):
        return "ensemble of " + ", ".join(_one_teacher(each) for each in members)
    return _one_teacher(spec)


def _one_teacher(spec: msgspec.Struct) -> str:
    kind = str(spec.__struct_config__.tag)
    for key in ("path", "model", "name", "estimator"):
        if getattr(spec, key, ""):
            return f"{kind} ({getattr(spec, key)})"
    return kind
