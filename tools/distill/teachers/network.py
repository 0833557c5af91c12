"""Networks over hashed n-grams as a teacher: wider than the student, trained here, averaged."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize
from tools.distill.table import NONE, Input, Table
from tools.distill.teachers.fitted import fit_digest
from tools.distill.teachers.spec import Network
from tools.train.bags import BagNet, Bags, Recipe, train
from tools.train.features import features


class NetworkTeacher:
    """The mean of the members' logits."""

    batch = 512

    def __init__(self, spec: Network, table: Table, seed: int) -> None:
        """Take what it learns from; it is trained when it is first asked."""
        self._spec, self._table, self._seed = spec, table, seed
        self._steps = (
            TextNormalize(),
            TextHashNgrams(bits=spec.bits, chars=[2, 5], words=[1, 2], weight="binary"),
        )
        self.fingerprint = f"{fit_digest('network', spec, table)} seed {seed}"

    @cached_property
    def _members(self) -> list[BagNet]:
        """Train; rows of no label are pushed towards an even spread."""
        spec, table, seed = self._spec, self._table, self._seed
        known, foreign = table.where(table.labels > NONE), table.where(table.labels == NONE)
        rows = Bags(features([str(each) for each in known.inputs], self._steps))
        strange = foreign if len(foreign) else known
        others = Bags(features([str(each) for each in strange.inputs], self._steps))
        return [
            train(
                rows,
                known.labels,
                others,
                1 << spec.bits,
                Recipe(
                    hidden=spec.hidden,
                    epochs=spec.epochs,
                    seed=seed + member,
                    foreign_weight=0.5 if len(foreign) else 0.0,
                ),
            )
            for member in range(spec.members)
        ]

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        members = self._members
        rows = Bags(features([str(each) for each in inputs], self._steps))
        drawn = rows.draw(np.arange(len(inputs)))
        with torch.no_grad():
            found = torch.stack([member(drawn) for member in members]).mean(0)
        answer: NDArray[np.float32] = found.numpy()
        return answer
