"""What students there are and the sizes a recipe gives them; no code, so that no PyTorch."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.pre_steps import SurfaceFact

Width = Annotated[int, Meta(ge=1, le=65_536)]


class Student(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all students share: the key `kind` says which it is."""

    @property
    def kind(self) -> str:
        """The name in the recipe."""
        return str(self.__struct_config__.tag)


class TextClassifier(Student, frozen=True, kw_only=True, tag_field="kind", tag="text-classifier"):
    """Hashed n-grams → `hidden` units → labels; TFLite int8. `hidden` 0 is one linear layer."""

    bits: Annotated[int, Meta(ge=8, le=18)] = 14
    chars: list[int] = msgspec.field(default_factory=lambda: [2, 5])
    words: list[int] = msgspec.field(default_factory=lambda: [1, 2])
    hidden: Annotated[int, Meta(ge=0, le=4096)] = 128
    lower: bool = True
    digits: Literal["keep", "zero"] = "keep"
    surface: list[SurfaceFact] = msgspec.field(default_factory=list)
    surface_scale: float = 0.1


class Convolution(Student, frozen=True, kw_only=True, tag_field="kind", tag="convolution"):
    """Depthwise separable convolutions over a picture or a spectrogram; TFLite int8."""

    channels: Width = 64
    blocks: Annotated[int, Meta(ge=1, le=12)] = 4


class Autoencoder(Student, frozen=True, kw_only=True, tag_field="kind", tag="series"):
    """Features of a window and the error of an autoencoder on it; TFLite."""

    hidden: Width = 16
    code: Width = 4


class Tagger(Student, frozen=True, kw_only=True, tag_field="kind", tag="tagger"):
    """Hashed word shapes → convolution over words → a slot for each; TFLite."""

    bits: Annotated[int, Meta(ge=8, le=18)] = 13
    hidden: Width = 96
    length: Width = 32


class CausalLm(Student, frozen=True, kw_only=True, tag_field="kind", tag="causal-lm"):
    """A small model of llama architecture with a tokenizer llama.cpp knows; GGUF."""

    width: Width = 192
    layers: Annotated[int, Meta(ge=1, le=64)] = 4
    heads: Annotated[int, Meta(ge=1, le=64)] = 6
    feed_forward: Width = 448
    quantization: Literal["F16", "Q8_0", "Q4_0"] = "Q8_0"


class StaticTable(Student, frozen=True, kw_only=True, tag_field="kind", tag="static-table"):
    """One vector a word piece, from a transformer's own vocabulary (model2vec)."""

    dimensions: Width = 256


StudentSpec = TextClassifier | Convolution | Autoencoder | Tagger | CausalLm | StaticTable
