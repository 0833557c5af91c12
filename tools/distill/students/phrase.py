"""The phrase classifier of a recipe: its steps, its pieces, its network, its files."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from aiosd.domain.step import Step
from tools.distill.fault import RecipeError
from tools.distill.spec import PhraseClassifier
from tools.distill.students import pieces
from tools.distill.students.attention import AttentionSizes
from tools.distill.students.phrases import BoardNet, PhraseNet
from tools.distill.table import Input
from tools.distill.teachers.transformer import Encoder, folder_of
from tools.train.tflite import write_tflite_for

# So many batches are drawn at once, and the rows among them put together by their length.
SORTED = 16


class Ids:
    """Rows of ids of unlike lengths."""

    def __init__(self, rows: Sequence[NDArray[np.int32]]) -> None:
        """Take each text's ids."""
        self._lengths = np.array([len(row) for row in rows], np.int64)
        width = int(self._lengths.max(initial=1))
        self._rows = np.zeros((len(rows), width), np.int64)
        for at, row in enumerate(rows):
            self._rows[at, : len(row)] = row

    def draw(
        self,
        rows: NDArray[np.int64],
        drop: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> torch.Tensor:
        """Return ids (rows, longest of them); a share `drop` of the pieces becomes unknown.

        The first piece of a row stays.
        """
        found = self._rows[rows, : max(2, int(self._lengths[rows].max()))]
        if drop and generator is not None:
            hidden = generator.random(found.shape, dtype=np.float32) < drop
            hidden[:, 0] = False
            found = np.where(hidden & (found > 0), pieces.MARKS.index("[UNK]"), found)
        return torch.from_numpy(found)

    def batches(
        self, rows: NDArray[np.int64], size: int, chance: np.random.Generator
    ) -> Iterator[NDArray[np.int64]]:
        """Yield the rows once, about `size` together, those of like length with each other."""
        order = chance.permutation(rows)
        for start in range(0, len(order), size * SORTED):
            part = order[start : start + size * SORTED]
            part = part[np.argsort(self._lengths[part], kind="stable")]
            found = np.array_split(part, -(-len(part) // size))
            for at in chance.permutation(len(found)):
                yield found[at]


class PhraseStudent:
    """What a recipe's phrase classifier is."""

    def __init__(
        self, spec: PhraseClassifier, classes: int, texts: Sequence[Input], assets: Path
    ) -> None:
        """Take the sizes, the texts by which pieces are chosen, and where a folder is looked for.

        Raises:
            TeacherError: the encoder is not there.
            RecipeError: it has another digest, or the heads do not divide the width.
        """
        if spec.layers and spec.width % spec.heads:
            raise RecipeError(f"{spec.heads} heads do not divide a width of {spec.width}")
        self._spec, self._classes = spec, classes
        self._texts = [str(each) for each in texts]
        self._folder = folder_of(spec.encoder, assets)
        self.encoder = Encoder(self._folder, spec.sha256)
        self.pre: tuple[Step, ...] = pieces.steps(spec.length)

    @cached_property
    def pieces(self) -> list[str]:
        """The pieces that the table has, in the order of their ids."""
        spec = self._spec
        vocabulary = self._folder / pieces.VOCABULARY
        return pieces.choose(vocabulary, self._texts, spec.pieces, spec.length)

    @property
    def words(self) -> list[str]:
        """The whole words among the pieces."""
        return [each for each in self.pieces if len(each) > 1 and each.isascii() and each.isalpha()]

    @property
    def architecture(self) -> str:
        """Say in a line what the model is."""
        spec = self._spec
        looked = (
            f"{spec.layers} layer{'s' if spec.layers > 1 else ''} of self-attention ({spec.heads} "
            f"heads, {spec.feed_forward} feed-forward units), "
            if spec.layers
            else ""
        )
        return (
            f"{len(self.pieces)} word pieces × {spec.width}, {looked}windows of 1-{spec.reach} "
            f"pieces with {spec.features} features each (largest and mean), 2^{spec.bits} pairs × "
            f"{spec.pair_width}, {spec.hidden} hidden units, {self._classes} labels, int8 weights"
        )

    def feed(self, inputs: Sequence[Input]) -> Ids:
        """Return texts as ids, by the steps that the board runs."""
        texts = [str(each) for each in inputs]
        with TemporaryDirectory() as folder:
            path = self.write_pieces(Path(folder))
            return Ids(pieces.ids_of(path, texts, self._spec.length))

    def net(self, seed: int) -> torch.nn.Module:
        """Return a new network."""
        torch.manual_seed(seed)
        spec = self._spec
        return PhraseNet(
            pieces.vectors(self._folder, self.pieces, spec.width),
            (spec.width, spec.features, spec.reach, spec.hidden),
            (1 << spec.bits, spec.pair_width),
            self._classes,
            AttentionSizes(spec.layers, spec.heads, spec.feed_forward, spec.length),
        )

    def write_pieces(self, folder: Path) -> Path:
        """Write the file that `text.wordpiece` reads; return where."""
        path = folder / pieces.FILE
        path.write_text("\n".join(self.pieces) + "\n", encoding="utf-8")
        return path

    def export(self, net: torch.nn.Module, path: Path, samples: Sequence[Input]) -> None:
        """Write the TFLite file, and the pieces beside it; dense layers range by the request."""
        del samples
        if not isinstance(net, PhraseNet):
            raise TypeError("not a network of this student")
        self.write_pieces(path.parent)
        ids = torch.zeros((1, self._spec.length), dtype=torch.int32)
        ids[0, 0] = 1
        write_tflite_for(BoardNet(net.eval()), (ids,), path)
