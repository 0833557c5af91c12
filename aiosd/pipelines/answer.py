"""What passes through a pipeline's post steps: an answer in the making.

The shape of every step, for all families. A module of this folder exposes
`STEPS: dict[type[Step], Callable[[Step, Path], Callable[[object], object]]]`: the spec's class to a
factory `(spec, package_folder) -> callable(value) -> value`. The factory runs once per worker and
raises PackageError for a bad package; the callable runs per request and raises InvalidError, with
its field, for a bad value.

What a pre step is handed, first step of the list:

- text: the `str`; json: the plain value; chat: no pre steps, `prompt` takes the turns;
- image, audio, series, tensor: the `Input` itself with its bytes in `data` (the worker resolves
  attachment frames before it calls the pipeline);

and then whatever the step before it returned: a `str`, an array, or a tuple of arrays for a model
with several inputs. Arrays have no window axis until a step makes one (see `WINDOWING` in
`pipeline.py`); where none does, the pipeline adds an axis 0 of length 1 at the end.

What a post step is handed is always an `Answer`, and it returns an `Answer`, changed with
`dataclasses.replace`. Nothing is global: what a later step needs of an earlier one is in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """An answer between the engine and the caller.

    `tensors`: the engine's outputs, as float32 unless the model's output is an index type; axis 0
    is the window. For an embedding one array (1, dimensions). Steps replace them.
    `prepared`: what the engine was given, axis 0 the window, before any quantization.
    `logits`: `tensors[0]` as it was before `scores.softmax` or `scores.sigmoid`; None without them.
    `text`: a generated text, None for tensor engines.
    `top_k`: how many labels the request asked for, None if it did not say.
    `output`: what the caller will see, in plain Python values (no NumPy scalars or arrays).
    """

    tensors: tuple[Floats, ...] = ()
    prepared: tuple[Floats, ...] = ()
    logits: Floats | None = None
    text: str | None = None
    top_k: int | None = None
    output: Mapping[str, object] = field(default_factory=dict)
