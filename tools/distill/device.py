"""Where language models learn: the processor, or a GPU if there is one.

A run on a GPU does not come to the same digits as one on the processor.
"""

from typing import Literal

import torch
from torch import nn

from tools.distill.fault import DistillError

Name = Literal["auto", "cpu", "cuda"]


def device(name: Name) -> torch.device:
    """Return the device of that name; `auto` is a GPU where PyTorch sees one.

    Raises:
        DistillError: a GPU is asked for and PyTorch sees none.
    """
    there = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not there:
        raise DistillError(
            f"PyTorch {torch.__version__} sees no CUDA device; give --device cpu, or install a "
            "build of PyTorch for this machine's GPU"
        )
    return torch.device("cuda" if there else "cpu")


def device_of(net: nn.Module) -> torch.device:
    """Return where a net's weights are."""
    return next(net.parameters()).device
