"""Texts → a sparse table of features, by the very steps that the board runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aiosd.domain.step import Step
from aiosd.pipelines.text import STEPS


def features(texts: Sequence[str], steps: Sequence[Step], folder: Path = Path()) -> csr_matrix:
    """Return float32 (texts, features): each text through `steps`, one row each."""
    calls = [STEPS[type(step)](step, folder) for step in steps]
    places: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float32]] = []
    width = 0
    for text in texts:
        value: object = text
        for call in calls:
            value = call(value)
        row = np.asarray(value, np.float32)[0]
        width = len(row)
        found = np.flatnonzero(row)
        places.append(found.astype(np.int32))
        values.append(row[found])
    starts = np.concatenate([[0], np.cumsum([len(each) for each in places])])
    return csr_matrix(
        (np.concatenate(values), np.concatenate(places), starts), shape=(len(places), width)
    )
