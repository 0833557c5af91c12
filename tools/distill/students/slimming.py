"""A smaller convolutional net out of its teacher's channels, before it learns anything.

Of every layer of a TFLite file of the same shape the channels are kept that pass on the most; what
is left of the next layer is fitted anew, by least squares, to give what the whole one gave (He,
Zhang, Sun 2017, "Channel pruning for accelerating very deep neural networks").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.distill.fault import TeacherError
from tools.distill.students.convolution import Net
from tools.distill.table import Input

ROWS = 1500
"""How many inputs the layers are fitted on."""
RIDGE = 1e-3
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Whole:
    """A teacher's layers as plain numbers: the first, (depthwise, pointwise) each, the last."""

    first: Layer
    blocks: Sequence[tuple[Layer, Layer]]
    last: Layer


def read_whole(path: Path) -> Whole:
    """Read a file whose layers are a convolution, separable ones, and a dense one.

    Raises:
        TeacherError: its layers are others.
    """
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - only here

    engine: Any = Interpreter(str(path))
    engine.allocate_tensors()
    told = {each["index"]: each for each in engine.get_tensor_details()}
    found: list[tuple[str, Layer]] = []
    for each in engine._get_ops_details():  # noqa: SLF001 - the only way to see them
        if each["op_name"] in _WITH_WEIGHTS:
            weights, bias = (_plain(engine, told[int(at)]) for at in each["inputs"][1:3])
            if weights.ndim == 4:
                turned = (3, 0, 1, 2) if each["op_name"].startswith("DEPTH") else (0, 3, 1, 2)
                weights = weights.permute(*turned)
            found.append((each["op_name"], (weights.contiguous(), bias)))
    kinds = [kind for kind, _ in found]
    separable = len(found) // 2 - 1
    pairs = ["DEPTHWISE_CONV_2D", "CONV_2D"] * separable
    if separable < 1 or kinds != ["CONV_2D", *pairs, "FULLY_CONNECTED"]:
        raise TeacherError(f"{path} is not a convolution, separable ones and a dense layer")
    layers = [layer for _, layer in found]
    return Whole(layers[0], list(zip(layers[1:-1:2], layers[2:-1:2], strict=True)), layers[-1])


def _plain(engine: Any, told: dict[str, Any]) -> Tensor:  # noqa: ANN401 - a library without types
    """Return a constant as the numbers that it stands for."""
    values = np.asarray(engine.get_tensor(told["index"]), np.float32)
    own = told["quantization_parameters"]
    if len(own["scales"]):
        shape = [1] * values.ndim
        shape[own["quantized_dimension"] if len(own["scales"]) > 1 else 0] = -1
        zeros = own["zero_points"].astype(np.float32).reshape(shape)
        values = (values - zeros) * own["scales"].reshape(shape)
    return torch.from_numpy(values)


@torch.no_grad()
def slim(net: Net, whole: Whole, inputs: Sequence[Input], seed: int) -> None:
    """Put the teacher's most used channels into `net`.

    Raises:
        TeacherError: the teacher has other layers, or fewer channels than `net`.
    """
    chance = np.random.default_rng(seed)
    places = chance.permutation(len(inputs))[:ROWS]
    pictures = torch.from_numpy(np.stack([np.asarray(inputs[at], np.float32) for at in places]))
    convolutions, norms = _parts(net, whole)
    first, width = convolutions[0], convolutions[0].out_channels
    net.shift.zero_()  # the teacher takes features as they are, with zeros around them
    net.scale.fill_(1.0)
    weights, bias = whole.first
    full = functional.conv2d(pictures[:, None], weights, bias, first.stride, first.padding).relu()
    kept = _most_used(full, whole.blocks[0], width)
    first.weight.copy_(weights[kept])
    own = _normed(norms[0], first(pictures[:, None]), bias[kept]).relu()
    for at, ((deep, deep_bias), point) in enumerate(whole.blocks):
        depthwise, pointwise = convolutions[1 + 2 * at : 3 + 2 * at]
        depthwise.weight.copy_(deep[kept])
        thin = _normed(norms[1 + 2 * at], depthwise(own), deep_bias[kept]).relu()
        through = functional.conv2d(full, deep, deep_bias, 1, 1, groups=len(deep)).relu()
        wanted = functional.conv2d(through, *point)
        full = wanted.relu()
        after = whole.blocks[at + 1] if at + 1 < len(whole.blocks) else whole.last
        kept = _most_used(full, after, width)
        weights, bias = _fitted(_flat(thin), _flat(wanted[:, kept]))
        pointwise.weight.copy_(weights[..., None, None])
        own = _normed(norms[2 + 2 * at], pointwise(thin), bias).relu()
    weights, bias = _fitted(own.mean((2, 3)), full.mean((2, 3)) @ whole.last[0].T + whole.last[1])
    net.head.weight.copy_(weights)
    net.head.bias.copy_(bias)


def _parts(net: Net, whole: Whole) -> tuple[list[nn.Conv2d], list[nn.BatchNorm2d]]:
    """Return the net's convolutions and norms, held against the teacher's layers."""
    convolutions = [each for each in net.body if isinstance(each, nn.Conv2d)]
    if len(convolutions) != 1 + 2 * len(whole.blocks):
        raise TeacherError(f"the teacher has {len(whole.blocks)} blocks, the student others")
    if whole.first[0].shape[1:] != convolutions[0].weight.shape[1:]:
        raise TeacherError("the teacher's first convolution is not of the student's shape")
    channels, width = len(whole.first[1]), convolutions[0].out_channels
    if channels < width:
        raise TeacherError(f"the teacher has {channels} channels, not {width}")
    return convolutions, [each for each in net.body if isinstance(each, nn.BatchNorm2d)]


def _most_used(seen: Tensor, after: Layer | tuple[Layer, Layer], width: int) -> Tensor:
    """Return the channels that weigh the most in what comes next, in their order."""
    (onward, bias) = after
    if isinstance(onward, tuple):
        (deep, deep_bias), (point, _) = onward, bias
        seen = functional.conv2d(seen, deep, deep_bias, 1, 1, groups=len(deep)).relu()
        onward = point.flatten(1)
    else:
        seen = seen.mean((2, 3))
    weight = seen.transpose(0, 1).flatten(1).std(1) * onward.norm(dim=0)
    return weight.argsort(descending=True, stable=True)[:width].sort().values


def _flat(seen: Tensor) -> Tensor:
    return seen.transpose(0, 1).flatten(1).T


def _fitted(given: Tensor, wanted: Tensor) -> Layer:
    """Return weights and bias that make the one of the other, by least squares with a ridge."""
    mean, aim = given.double().mean(0), wanted.double().mean(0)
    centred = given.double() - mean
    square = centred.T @ centred
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=torch.double)
    weights = torch.linalg.solve(square, centred.T @ (wanted.double() - aim)).T
    return weights.float(), (aim - weights @ mean).float()


def _normed(norm: nn.BatchNorm2d, raw: Tensor, bias: Tensor) -> Tensor:
    """Set a norm so that it adds `bias` to what it is given here; return what it gives."""
    mean, variance = raw.mean((0, 2, 3)), raw.var((0, 2, 3), unbiased=False)
    norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    norm.running_var.copy_(variance)  # type: ignore[union-attr]
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)
    return raw + bias[:, None, None]
