"""What students there are and the sizes a recipe gives them; no code, so that no PyTorch."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aiosd.domain.pre_steps import SurfaceFact

Width = Annotated[int, Meta(ge=1, le=65_536)]
Side = Annotated[int, Meta(ge=1, le=64)]
Times = Annotated[int, Meta(ge=1, le=8)]


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


class PhraseClassifier(
    Student, frozen=True, kw_only=True, tag_field="kind", tag="phrase-classifier"
):
    """Word pieces → windows of one to `reach` of them → `hidden` units → labels; TFLite int8.

    `encoder` is a Hugging Face folder (or `package:NAME`, inside an installed package), known by
    the digest of its weights: `pieces` of its vocabulary are taken, with its word vectors in
    `width` dimensions to begin with. Before the windows the pieces look at each other in `layers`
    of self-attention, with so many `heads` (which divide `width`) and `feed_forward` units. A
    window gives `features`. Pairs of neighbours have 2^`bits`
    vectors of `pair_width`. Of a text the first `length` pieces are read.
    """

    encoder: str
    sha256: str = ""
    pieces: Annotated[int, Meta(ge=8, le=16_384)] = 12_000
    width: Width = 128
    layers: Annotated[int, Meta(ge=0, le=8)] = 0
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    feed_forward: Width = 256
    features: Width = 160
    reach: Annotated[int, Meta(ge=1, le=8)] = 3
    hidden: Width = 256
    bits: Annotated[int, Meta(ge=4, le=16)] = 13
    pair_width: Width = 64
    length: Annotated[int, Meta(ge=4, le=512)] = 40


class Convolution(Student, frozen=True, kw_only=True, tag_field="kind", tag="convolution"):
    """Depthwise separable convolutions over a picture or a spectrogram; TFLite int8.

    The `first` convolution has that many rows and columns (a spectrogram's: frames and bands), and
    takes every `stride`-th place of both.
    """

    channels: Width = 64
    blocks: Annotated[int, Meta(ge=1, le=12)] = 4
    first: tuple[Side, Side] = (10, 4)
    stride: Annotated[int, Meta(ge=1, le=8)] = 2


class Autoencoder(Student, frozen=True, kw_only=True, tag_field="kind", tag="series"):
    """Features of a window of a series and the error of an autoencoder on it; TFLite.

    The teacher is made here too: `teacher_members` wider ones, whose errors are averaged.
    """

    teacher_hidden: Width = 64
    teacher_code: Width = 4
    teacher_members: Annotated[int, Meta(ge=1, le=16)] = 4


class CausalLm(Student, frozen=True, kw_only=True, tag_field="kind", tag="causal-lm"):
    """A small model of llama architecture with its teacher's tokenizer; GGUF.

    The teacher writes `texts` texts of at most `length` tokens to learn from.
    """

    width: Width = 64
    layers: Annotated[int, Meta(ge=1, le=64)] = 2
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    feed_forward: Width = 192
    context: Annotated[int, Meta(ge=32, le=8192)] = 256
    quantization: Literal["F16", "Q8_0", "Q4_0"] = "Q8_0"
    texts: Annotated[int, Meta(ge=1)] = 2000
    length: Annotated[int, Meta(ge=8)] = 200


class SlotLm(Student, frozen=True, kw_only=True, tag_field="kind", tag="slot-lm"):
    """A sentence → JSON with an intent and slots; a llama whose prompt is read both ways; GGUF.

    It begins with the weights and the tokenizer of `start`, a GGUF file; `new_layers` are put in
    before the named ones, and channels, with their heads, and feed-forward units stand there as
    often as `times` says. With a `width` it has so many `layers` of that width, `heads` and
    `feed_forward` units, weights of chance, and the tokenizer of `start`. The first `shared` epochs
    are of labels alone, for both students. An epoch is a quarter of HWU64 and SNIPS so many times,
    and of so many sentences of other kinds; `phrases` are of templates of ours, in the notation of
    Home Assistant's, `requests` of our own for HWU64's and SNIPS' intents; what CLINC150 says of
    HWU64's intents comes `clinc150` times. Beside a quarter stand `texts` without labels, of which
    the teacher is asked; with none it is asked of the labelled sentences. The student of labels
    alone has as many labelled sentences in their place. Of the shares `kept` of the start's weights
    in what is written, of either student, the one is taken that has most of the watch part right:
    it forgets less so (Wortsman et al. 2022, "WiSE-FT").
    """

    start: str
    new_layers: list[int] = msgspec.field(default_factory=list)
    times: tuple[Times, Times] = (1, 1)
    width: Annotated[int, Meta(ge=0, le=4096, multiple_of=32)] = 0
    layers: Annotated[int, Meta(ge=1, le=64)] = 8
    heads: Annotated[int, Meta(ge=1, le=64)] = 8
    feed_forward: Annotated[int, Meta(ge=32, le=16_384, multiple_of=32)] = 1408
    shared: Annotated[int, Meta(ge=0)] = 0
    hwu64: Annotated[int, Meta(ge=0, le=16)] = 2
    snips: Annotated[int, Meta(ge=0, le=16)] = 1
    home: Annotated[int, Meta(ge=0)] = 9000
    other: Annotated[int, Meta(ge=0)] = 1200
    phrases: Annotated[int, Meta(ge=0)] = 0
    clinc150: Annotated[int, Meta(ge=0, le=16)] = 0
    requests: Annotated[int, Meta(ge=0)] = 0
    texts: Annotated[int, Meta(ge=0)] = 0
    kept: Annotated[list[Annotated[float, Meta(ge=0.0, le=1.0)]], Meta(min_length=1)] = (
        msgspec.field(default_factory=lambda: [0.0])
    )
    quantization: Literal["F16", "Q8_0", "Q4_0"] = "Q8_0"

    def __post_init__(self) -> None:
        """Hold the keys against each other: a ValueError becomes the recipe's RecipeError."""
        if self.width and (self.new_layers or self.times != (1, 1)):
            raise ValueError(
                "new_layers and times grow the weights of start; with width there are none"
            )


class StaticTable(Student, frozen=True, kw_only=True, tag_field="kind", tag="static-table"):
    """A vector of `dims` int8 for each of some ten thousand words: what the router's head looks up.

    `words` is a file with one word a line, beside those of the texts and the teacher's own.
    """

    dims: Width = 96
    words: str = ""


StudentSpec = (
    TextClassifier | PhraseClassifier | Convolution | Autoencoder | CausalLm | SlotLm | StaticTable
)
