"""Texts → a sparse table of features, by the very steps that the board runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, vstack

from aiosd.domain.step import Step
from aiosd.pipelines.text import STEPS


def features(texts: Sequence[str], steps: Sequence[Step], folder: Path = Path()) -> csr_matrix:
    """Return float32 (texts, features): each text through `steps`, one row each."""
    calls = [STEPS[type(step)](step, folder) for step in steps]
    rows = []
    for text in texts:
        value: object = text
        for call in calls:
            value = call(value)
        rows.append(csr_matrix(np.asarray(value, np.float32)))
    return vstack(rows, format="csr")
