"""The text classifier: hashed n-grams, one hidden layer or none, int8 weights, TFLite."""

from collections.abc import Sequence
from pathlib import Path

import torch

from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize
from aiosd.domain.step import Step
from tools.distill.spec import TextClassifier
from tools.distill.table import Input
from tools.train.bags import BagNet, Bags, Drawn
from tools.train.features import features
from tools.train.tflite import RowScaledLinear, write_tflite

HIDDEN_DROP = 0.3
MAX_CHARS = 1000


class BagLinear(torch.nn.Module):
    """Features → logits in one layer, stored by feature."""

    def __init__(self, width: int, classes: int) -> None:
        """Take the widths."""
        super().__init__()
        self.table = torch.nn.EmbeddingBag(width, classes, mode="sum")
        torch.nn.init.zeros_(self.table.weight)
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, drawn: Drawn) -> torch.Tensor:
        """Return logits (rows, classes)."""
        logits: torch.Tensor = self.table(*drawn) + self.bias
        return logits

    def layers(self) -> list:  # type: ignore[type-arg]
        """Return weight (outputs, inputs) and bias."""
        return [(self.table.weight.detach().numpy().T.copy(), self.bias.detach().numpy())]


class TextStudent:
    """What a recipe's text classifier is: its steps, its network, its file."""

    def __init__(self, spec: TextClassifier, classes: int) -> None:
        """Take the sizes."""
        self._spec, self._classes = spec, classes
        self.width = (1 << spec.bits) + len(spec.surface)
        self.pre: tuple[Step, ...] = (
            TextNormalize(lower=spec.lower, max_chars=MAX_CHARS, digits=spec.digits),
            TextHashNgrams(
                bits=spec.bits,
                chars=spec.chars,
                words=spec.words,
                weight="binary",
                surface=spec.surface,
                surface_scale=spec.surface_scale,
            ),
        )

    @property
    def architecture(self) -> str:
        """Say in a line what the model is."""
        spec = self._spec
        layers = f"{spec.hidden} hidden units" if spec.hidden else "one linear layer"
        facts = f" and {len(spec.surface)} surface facts" if spec.surface else ""
        return (
            f"hashed {spec.chars[0]}-{spec.chars[1]} letter and {spec.words[0]}-{spec.words[1]} "
            f"word n-grams{facts}, 2^{spec.bits} places, {layers}, {self._classes} labels, "
            "int8 weights"
        )

    def feed(self, inputs: Sequence[Input]) -> Bags:
        """Return the features of texts, by the steps that the board runs."""
        return Bags(features([str(each) for each in inputs], self.pre))

    def net(self, seed: int) -> torch.nn.Module:
        """Return a new network."""
        torch.manual_seed(seed)
        if not self._spec.hidden:
            return BagLinear(self.width, self._classes)
        return BagNet(self.width, self._spec.hidden, self._classes, HIDDEN_DROP)

    def shift(self, net: torch.nn.Module, offset: float) -> None:
        """Add this to the second logit of two of a net without hidden units.

        Raises:
            TypeError: the net has hidden units.
        """
        if not isinstance(net, BagLinear):
            raise TypeError("not one linear layer")
        with torch.no_grad():
            net.bias += torch.tensor([-offset / 2, offset / 2])

    def export(self, net: torch.nn.Module, path: Path, samples: Sequence[Input]) -> None:
        """Write the TFLite file; dense layers take their ranges from the request at hand."""
        del samples
        parts: list[torch.nn.Module] = []
        for weight, bias in net.layers():  # type: ignore[operator]
            parts += [RowScaledLinear(weight, bias), torch.nn.ReLU()]
        write_tflite(torch.nn.Sequential(*parts[:-1]), [(1, self.width)], path)
