"""A recipe's student that gives labels, opened; PyTorch is imported when one is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from aiosd.domain.step import Step
from tools.distill import spec as kinds
from tools.distill.fault import DistillError
from tools.distill.table import Input, Material


class ClassStudent(Protocol):
    """What every student that gives labels has in common."""

    pre: tuple[Step, ...]

    @property
    def architecture(self) -> str:
        """Say in a line what the model is."""
        ...

    def feed(self, inputs: Sequence[Input]) -> Any:  # noqa: ANN401 - what its own net takes
        """Return inputs as the network takes them."""
        ...

    def net(self, seed: int) -> Any:  # noqa: ANN401 - a module; torch is not imported here
        """Return a new network."""
        ...

    def export(self, net: Any, path: Path, samples: Sequence[Input]) -> None:  # noqa: ANN401
        """Write the model file."""
        ...


def open_student(spec: kinds.StudentSpec, material: Material, assets: Path) -> ClassStudent:
    """Make the student of a recipe.

    Raises:
        DistillError: PyTorch is not installed, or this kind of student gives no labels.
    """
    try:
        if isinstance(spec, kinds.TextClassifier):
            from tools.distill.students.text import TextStudent  # noqa: PLC0415 - torch

            return TextStudent(spec, len(material.labels))
        if isinstance(spec, kinds.PhraseClassifier):
            from tools.distill.students.phrase import PhraseStudent  # noqa: PLC0415 - torch

            texts = [*material.train.inputs, *material.transfer.inputs]
            return PhraseStudent(spec, len(material.labels), texts, assets)
        if isinstance(spec, kinds.Convolution):
            from tools.distill.students.convolution import ConvolutionStudent  # noqa: PLC0415

            return ConvolutionStudent(
                spec, len(material.labels), material.train.inputs, material.pre
            )
    except ImportError as error:
        raise DistillError(f"{error}: pip install 'aiosd[distill]'") from None
    raise DistillError(f"a student of kind {spec.kind} gives no labels")
