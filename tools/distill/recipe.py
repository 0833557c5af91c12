"""A recipe: the one file that says what is distilled from what, how; strict to the key."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.manifest import Name
from tools.distill.fault import RecipeError
from tools.distill.methods import METHODS, MethodName
from tools.distill.spec import StudentSpec, TextClassifier
from tools.distill.table import Problem
from tools.distill.teachers.spec import TeacherSpec

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a recipe: frozen, and an unknown key is an error."""


class DataPart(_Part, frozen=True, kw_only=True):
    """Where examples come from.

    `source` names a reader of `sources.py`, `transfer` readers whose texts are used without their
    labels, at most `transfer_most` of them. `path` is a file of the owner's for the reader `rows`.
    `each` is how many labelled rows of a label are learned from (0: all); the others' labels are
    forgotten, and the teacher says what they are.
    `kept` are files of kept escalations, whose answers are labels of rows to learn from.
    `allow` names what the checks may find and training goes on all the same.
    """

    source: str
    path: str = ""
    each: Count = 0
    transfer: list[str] = msgspec.field(default_factory=list)
    transfer_most: Count = 100_000
    kept: list[str] = msgspec.field(default_factory=list)
    allow: list[Problem] = msgspec.field(default_factory=list)


class MethodPart(_Part, frozen=True, kw_only=True):
    """How the student learns: names of `methods.py`, and their numbers.

    `temperature` T softens teacher and student; `mixing` is the share of the teacher's part of the
    loss, the rest is that of the labels (Hinton et al. 2015). `top_k` logits of each answer are
    kept; a `hint` needs all of them, and weighs so much beside the rest of the loss. `variants`
    are made of each example where a method makes any, and a strange word is put into `strange`
    texts. `hold_back` is the share of the hardest examples that a curriculum begins without.
    `sparsity` is the share of weights that pruning takes. `steps_weight` is what the teacher's
    steps count beside the answer, and `on_policy_steps` are batches of texts that the student goes
    on with itself.
    """

    names: list[MethodName]
    temperature: Annotated[float, Meta(gt=0.0, le=100.0)] = 2.0
    mixing: Share = 0.7
    top_k: Annotated[int, Meta(ge=1, le=1024)] = 8
    hint: Annotated[float, Meta(gt=0.0, le=100.0)] = 2.0
    variants: Count = 0
    strange: Count = 4
    hold_back: Share = 0.3
    sparsity: Share = 0.0
    steps_weight: Share = 0.5
    on_policy_steps: Count = 200


class TrainingPart(_Part, frozen=True, kw_only=True):
    """How long and how fast; a checkpoint is written after every epoch.

    `labels_epochs` is for the student that learns from labels alone (0: as many). `drop` zeroes a
    share of the input, `foreign_weight` weighs the rows of no label. With `fall` a slot filler's
    rate stays what it is until that share of the epochs is left, and falls evenly then.
    """

    epochs: Annotated[int, Meta(ge=1, le=10_000)]
    batch: Annotated[int, Meta(ge=1, le=65_536)] = 128
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 5e-3
    smoothing: Share = 0.0
    drop: Share = 0.0
    foreign_weight: Annotated[float, Meta(ge=0.0)] = 0.5
    labels_epochs: Count = 0
    fall: Share = 0.0


class PackagePart(_Part, frozen=True, kw_only=True):
    """What the package says; the words are in `words`, a template beside the recipe.

    `release` fills a mark of the template. With `precise` the label `none` is said unless the
    rows that score as high are right so often (on the tuning rows); without, five of a hundred
    rows of a label are let go where rows of none are among the tuning ones. `none_measure` is what
    is held against that threshold; only the best score may be `precise`. Temperature is set on the
    tuning rows of the set `calibrate_on` (what stands before a colon in their slices; all without).
    With `offset` the log-odds of two labels are moved, too, where that makes these rows likelier:
    Platt scaling (Platt 1999), written into the last layer of a `text-classifier` without hidden
    units.
    """

    words: str
    release: Annotated[int, Meta(ge=1)] = 1
    precise: Share = 0.0
    none_measure: Literal["score", "energy", "max_logit"] = "score"
    calibrate_on: str = ""
    offset: bool = False
    max_bytes: Annotated[int, Meta(ge=1)] = 4_000_000


class Recipe(_Part, frozen=True, kw_only=True):
    """The whole of a recipe."""

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    name: Name
    task: Literal[
        "text.classify",
        "audio.classify",
        "image.classify",
        "series.anomaly",
        "text.generate",
        "text.extract",
        "text.embed",
    ]
    seed: Count = 0
    notes: str = ""
    data: DataPart
    teacher: TeacherSpec
    student: StudentSpec
    method: MethodPart
    training: TrainingPart
    package: PackagePart

    def digest(self) -> str:
        """Return what makes two recipes the same run: all but the notes."""
        plain = msgspec.structs.replace(self, notes="")
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Read a recipe and hold its parts against each other.

    Raises:
        RecipeError: the file is not there or not TOML, a key is unknown, a value is out of its
            range, or a method does not fit the student; the message names the place.
    """
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from None
    if not recipe.method.names:
        raise RecipeError(f"{path}: method.names is empty; `recipes` lists them")
    if recipe.package.precise and recipe.package.none_measure != "score":
        raise RecipeError(f"{path}: package.precise goes with none_measure score alone")
    student = recipe.student
    if recipe.package.offset and not (isinstance(student, TextClassifier) and not student.hidden):
        raise RecipeError(f"{path}: package.offset needs a text-classifier without hidden units")
    for name in recipe.method.names:
        fits = METHODS[name].students
        if recipe.student.kind not in fits:
            raise RecipeError(
                f"{path}: {name} does not fit a student of kind {recipe.student.kind}; "
                f"it fits {', '.join(fits)}"
            )
    return recipe
