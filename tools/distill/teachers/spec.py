"""What teachers there are and what a recipe says of each; no code, so that nothing heavy."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0.0, le=3600.0)]


class _Teacher(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """What all teachers share: `kind` says which it is, `weight` its share among members."""

    weight: Annotated[float, Meta(gt=0.0)] = 1.0


class Endpoint(_Teacher, frozen=True, kw_only=True, tag="endpoint"):
    """An OpenAI-compatible endpoint that is asked for one label, with logprobs where it gives any.

    `key_env` names the variable that holds the key. `prompt` holds `{text}` and `{labels}`.
    `price_in` and `price_out` are for a million tokens; no question is asked that could cost more
    than what is left of `money`.
    """

    url: str
    model: str
    key_env: str = ""
    prompt: str = "Which one of these labels fits the text? {labels}\nText: {text}\nLabel:"
    price_in: Annotated[float, Meta(ge=0.0)] = 0.0
    price_out: Annotated[float, Meta(ge=0.0)] = 0.0
    money: Annotated[float, Meta(ge=0.0)] = 0.0
    max_tokens: Annotated[int, Meta(ge=1, le=4096)] = 16
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] = 5
    timeout: Seconds = 30.0
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    wait: Annotated[float, Meta(ge=0.0, le=600.0)] = 1.0


class Gguf(_Teacher, frozen=True, kw_only=True, tag="gguf"):
    """A GGUF file: the logits of its next token at the first token of each label.

    To a student that is a language model it writes texts; `prompt` is not used then.
    """

    path: str
    sha256: str = ""
    prompt: str = "Which one of these labels fits the text? {labels}\nText: {text}\nLabel:"
    context: Annotated[int, Meta(ge=16)] = 1024


class Transformer(_Teacher, frozen=True, kw_only=True, tag="transformer"):
    """A local Hugging Face folder: an encoder, and a head fitted here on its sentence vectors.

    `path` is the folder, or `package:NAME` for one inside an installed Python package. `sha256`
    is that of model.safetensors; another file is refused. With `layers` that many of the upper
    ones learn the labels too, for `epochs`, under a linear head; `cost` is of no use then.
    """

    path: str
    sha256: str = ""
    cost: Annotated[float, Meta(gt=0.0)] = 10.0
    batch: Annotated[int, Meta(ge=1, le=1024)] = 64
    layers: Annotated[int, Meta(ge=0, le=48)] = 0
    epochs: Annotated[int, Meta(ge=1, le=100)] = 4
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 1e-4
    smoothing: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0


class Scikit(_Teacher, frozen=True, kw_only=True, tag="scikit"):
    """A scikit-learn model fitted here on hashed n-grams, larger than any student."""

    estimator: Literal["linear-svm", "logistic", "naive-bayes"] = "linear-svm"
    bits: Annotated[int, Meta(ge=8, le=22)] = 18
    chars: list[int] = msgspec.field(default_factory=lambda: [2, 5])
    words: list[int] = msgspec.field(default_factory=lambda: [1, 2])
    cost: Annotated[float, Meta(gt=0.0)] = 1.0


class Network(_Teacher, frozen=True, kw_only=True, tag="network"):
    """Several networks over hashed n-grams, wider than the student, trained here and averaged."""

    bits: Annotated[int, Meta(ge=8, le=20)] = 16
    hidden: Annotated[int, Meta(ge=1, le=4096)] = 256
    epochs: Annotated[int, Meta(ge=1)] = 20
    members: Annotated[int, Meta(ge=1, le=16)] = 3


class Convolutions(_Teacher, frozen=True, kw_only=True, tag="convolutions"):
    """Several networks of the convolution student's kind, wider, trained here and averaged."""

    channels: Annotated[int, Meta(ge=1, le=4096)] = 128
    blocks: Annotated[int, Meta(ge=1, le=12)] = 4
    first: tuple[int, int] = (10, 4)
    stride: Annotated[int, Meta(ge=1, le=8)] = 2
    epochs: Annotated[int, Meta(ge=1)] = 12
    batch: Annotated[int, Meta(ge=1, le=65_536)] = 128
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 4e-3
    smoothing: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.05
    members: Annotated[int, Meta(ge=1, le=16)] = 2


class Litert(_Teacher, frozen=True, kw_only=True, tag="litert"):
    """A TFLite file. Where it ends in a softmax, the logits before it are taken if it has them."""

    path: str
    sha256: str = ""


class Expert(_Teacher, frozen=True, kw_only=True, tag="expert"):
    """An expert of a running daemon, by name; the probabilities of its `top` are its answer."""

    name: str
    sockets: str = ""
    timeout: Seconds = 30.0


class SmoothedEnsemble(_Teacher, frozen=True, kw_only=True, tag="ensemble"):
    """Members whose standardized logits are added, each with its weight."""

    members: list[Endpoint | Gguf | Transformer | Scikit | Network | Convolutions | Litert | Expert]


class Wider(_Teacher, frozen=True, kw_only=True, tag="wider"):
    """The student's own kind, wider; its sizes stand with the student's."""


class SlotTagger(_Teacher, frozen=True, kw_only=True, tag="tagger"):
    """A local Hugging Face encoder, fitted whole to say what each word is, and the intent.

    `path` and `sha256` as of a `transformer`; `layers` keeps the first ones only (0: all). What
    an epoch has of each source is said as for the student.
    """

    path: str
    sha256: str = ""
    layers: Annotated[int, Meta(ge=0, le=64)] = 0
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 3
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 3e-4
    batch: Annotated[int, Meta(ge=1, le=1024)] = 48
    hwu64: Annotated[int, Meta(ge=0, le=16)] = 2
    snips: Annotated[int, Meta(ge=0, le=16)] = 1
    home: Annotated[int, Meta(ge=0)] = 7000
    other: Annotated[int, Meta(ge=0)] = 1200
    phrases: Annotated[int, Meta(ge=0)] = 0
    requests: Annotated[int, Meta(ge=0)] = 0


TeacherSpec = (
    Endpoint
    | Gguf
    | Transformer
    | Scikit
    | Network
    | Convolutions
    | Litert
    | Expert
    | SmoothedEnsemble
    | Wider
    | SlotTagger
)
