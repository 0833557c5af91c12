"""A depthwise separable network over a spectrogram or a picture: MobileNet's blocks, int8, TFLite.

The shape is that of the MLPerf Tiny keyword network (Zhang et al. 2017, "Hello Edge"): a first
convolution with a stride, blocks of depthwise 3 × 3 and pointwise, the mean over all places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tools.distill.spec import Convolution
from tools.distill.table import Input
from tools.train.tflite import write_static_int8, write_tflite

DROP = 0.2
CALIBRATED = 200


class Arrays:
    """Arrays of one shape, by row."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        """Take (rows, ...)."""
        self._rows = torch.from_numpy(np.stack([np.asarray(one, np.float32) for one in inputs]))

    def draw(
        self,
        rows: NDArray[np.int64],
        drop: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> torch.Tensor:
        """Return these rows; with `drop` a band of frames of some rows is zeroed."""
        found = self._rows[rows]
        if not drop or generator is None:
            return found
        for at in np.flatnonzero(generator.random(len(rows)) < drop):
            start = int(generator.integers(0, found.shape[1]))
            found[at, start : start + int(generator.integers(1, 10))] = 0.0
        return found


@dataclass(frozen=True)
class Sizes:
    """What a network is made of; `colours` is 1 for a spectrogram."""

    channels: int
    blocks: int
    first: tuple[int, int]
    stride: int
    colours: int
    classes: int


class Net(nn.Module):
    """(n, frames, bands), or (n, rows, columns, colours) → logits."""

    def __init__(
        self, shift: NDArray[np.float32], scale: NDArray[np.float32], sizes: Sizes
    ) -> None:
        """Take mean and deviation of each band or colour, and the sizes."""
        super().__init__()
        channels, rows, columns = sizes.channels, *sizes.first
        self.shift = nn.Parameter(torch.from_numpy(shift), requires_grad=False)
        self.scale = nn.Parameter(torch.from_numpy(1 / scale), requires_grad=False)
        padding = (rows - 1) // 2, (columns - 1) // 2
        parts: list[nn.Module] = [
            nn.Conv2d(sizes.colours, channels, sizes.first, sizes.stride, padding, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        for _ in range(sizes.blocks):
            parts += [
                nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*parts)
        self.drop = nn.Dropout(DROP)
        self.head = nn.Linear(channels, sizes.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes)."""
        x = (x - self.shift) * self.scale
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        logits: torch.Tensor = self.head(self.drop(self.body(x).mean((2, 3))))
        return logits

    def folded(self) -> "Net":
        """Return it with every norm inside the convolution before it, for the board."""
        parts: list[nn.Module] = []
        for part in self.eval().body:
            if isinstance(part, nn.BatchNorm2d):
                convolution = parts.pop()
                parts.append(fuse_conv_bn_eval(convolution, part))  # type: ignore[type-var]
            else:
                parts.append(part)
        self.body = nn.Sequential(*parts).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self


class ConvolutionStudent:
    """What a recipe's convolution is: its network and its file."""

    def __init__(
        self,
        spec: Convolution,
        classes: int,
        inputs: Sequence[Input],
        pre: tuple = (),  # type: ignore[type-arg]
    ) -> None:
        """Take the sizes, the inputs whose mean and deviation are built in, and the steps."""
        self._spec, self._classes, self.pre = spec, classes, pre
        rows = np.stack([np.asarray(one, np.float32) for one in inputs])
        self._shape = rows.shape[1:]
        flat = rows.reshape(-1, rows.shape[-1])
        self._shift = flat.mean(axis=0)
        self._scale = flat.std(axis=0) + 1e-3

    @property
    def architecture(self) -> str:
        """Say in a line what the model is."""
        sides = " × ".join(map(str, self._shape))
        rows, columns = self._spec.first
        return (
            f"{sides} features, a {rows} × {columns} convolution and {self._spec.blocks} depthwise "
            f"separable ones of {self._spec.channels} channels, {self._classes} labels, int8"
        )

    def feed(self, inputs: Sequence[Input]) -> Arrays:
        """Return the arrays."""
        return Arrays(inputs)

    def net(self, seed: int) -> nn.Module:
        """Return a new network."""
        torch.manual_seed(seed)
        spec = self._spec
        colours = self._shape[2] if len(self._shape) == 3 else 1
        sizes = Sizes(spec.channels, spec.blocks, spec.first, spec.stride, colours, self._classes)
        # Channels last is a quarter faster on a CPU here.
        found = Net(self._shift, self._scale, sizes)
        return found.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def export(self, net: nn.Module, path: Path, samples: Sequence[Input]) -> None:
        """Write the TFLite file: int8 throughout, ranges from `samples`; weights only without."""
        if not isinstance(net, Net):
            raise TypeError("not a network of this student")
        shape = (1, *self._shape)
        if not len(samples):
            write_tflite(net.folded(), [shape], path)
            return
        step = max(1, len(samples) // CALIBRATED)
        rows = [np.asarray(one, np.float32)[None] for one in samples[::step]]
        write_static_int8(net.folded(), shape, rows, path)
