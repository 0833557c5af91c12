"""A scikit-learn model as a teacher, fitted here on the labels over many hashed n-grams."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize
from tools.distill.table import NONE, Input, Table
from tools.distill.teachers.fitted import fit_digest
from tools.distill.teachers.spec import Scikit
from tools.train.features import features


class ScikitTeacher:
    """One linear model over hashed n-grams; logits are its decision values."""

    batch = 1024

    def __init__(self, spec: Scikit, table: Table, classes: int) -> None:
        """Take the rows that have a label; it is fitted to them when it is first asked."""
        self._classes = classes
        self._steps = (
            TextNormalize(),
            TextHashNgrams(bits=spec.bits, chars=spec.chars, words=spec.words, weight="binary"),
        )
        self._spec, self._known = spec, table.where(table.labels > NONE)
        self.fingerprint = fit_digest("scikit", spec, self._known)

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - scikit-learn has no types
        model = _estimator(self._spec)
        return model.fit(self._features(self._known.inputs), self._known.labels)

    def _features(self, inputs: Sequence[Input]) -> csr_matrix:
        return features([str(each) for each in inputs], self._steps)

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels); a label it never saw is far below all others."""
        rows = self._features(inputs)
        if hasattr(self._model, "decision_function"):
            found = self._model.decision_function(rows)
        else:
            found = self._model.predict_log_proba(rows)
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1)
        full = np.full((len(inputs), self._classes), float(found.min()) - 5.0, np.float32)
        full[:, self._model.classes_] = found
        return full


def _estimator(spec: Scikit) -> Any:  # noqa: ANN401 - scikit-learn has no types
    # Heavy, and for this teacher only.
    if spec.estimator == "naive-bayes":
        from sklearn.naive_bayes import ComplementNB  # noqa: PLC0415

        return ComplementNB(alpha=spec.cost)
    if spec.estimator == "logistic":
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        return LogisticRegression(C=spec.cost, max_iter=2000)
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    return LinearSVC(C=spec.cost, random_state=0, max_iter=5000)
