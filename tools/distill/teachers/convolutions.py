"""Networks of the convolution student's kind, wider, as a teacher: trained here, averaged."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tools.distill.progress import Progress
from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.spec import Convolution
from tools.distill.students.convolution import ConvolutionStudent
from tools.distill.students.loop import Lesson, TorchLearner
from tools.distill.table import NONE, Input, Table
from tools.distill.teachers.fitted import fit_digest
from tools.distill.teachers.spec import Convolutions
from tools.distill.training import Checkpoint, learn

# What learning from labels alone leaves of a method.
_LABELS = MethodPart(names=["logit-matching"], mixing=0.0)


class ConvolutionsTeacher:
    """The mean of the members' logits; a member that was trained is kept in `folder`."""

    batch = 256

    def __init__(
        self, spec: Convolutions, table: Table, classes: int, place: tuple[Path, int]
    ) -> None:
        """Take the rows that have a label, the folder and the seed; it is trained when asked."""
        self._spec, self._known = spec, table.where(table.labels > NONE)
        self._folder, self._seed = place
        self._student = ConvolutionStudent(
            Convolution(
                channels=spec.channels, blocks=spec.blocks, first=spec.first, stride=spec.stride
            ),
            classes,
            self._known.inputs,
        )
        self.fingerprint = f"{fit_digest('convolutions', spec, self._known)} seed {self._seed}"

    @cached_property
    def _members(self) -> list[torch.nn.Module]:
        return [self._member(number) for number in range(self._spec.members)]

    def _member(self, number: int) -> torch.nn.Module:
        spec, known = self._spec, self._known
        net = self._student.net(self._seed + number)
        training = TrainingPart(
            epochs=spec.epochs, batch=spec.batch, rate=spec.rate, smoothing=spec.smoothing
        )
        learner = TorchLearner(
            net,
            self._student.feed(known.inputs),
            Lesson(known.labels),
            (training, _LABELS),
            self._seed + number,
        )
        name = f"{self.fingerprint.split()[1]}-{number}.checkpoint"
        self._folder.mkdir(parents=True, exist_ok=True)
        title = f"teacher {number + 1} of {spec.members}"
        learn(
            learner,
            spec.epochs,
            Checkpoint(self._folder / name),
            lambda _epoch, _figures: None,
            Progress(title),
        )
        return net.eval()

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        members = self._members
        drawn = self._student.feed(inputs).draw(np.arange(len(inputs)))
        with torch.no_grad():
            found = torch.stack([member(drawn) for member in members]).mean(0)
        answer: NDArray[np.float32] = found.numpy()
        return answer
