"""What passes between a pipeline and an engine: prepared input, and pieces of output.

Arrays are NumPy arrays in the worker; the words here only say what is asked of them, so that the
domain stays free of NumPy.
"""

from dataclasses import dataclass, field
from typing import Protocol

from aiosd.domain.request import Sampling


class Array(Protocol):
    """What the words know of an array: a shape and a type of element."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> object:
        """Type of the elements."""


@dataclass(frozen=True)
class Tensors:
    """Arrays for a tensor engine; axis 0 of each is the window, and windows run one by one.

    As output: one array per output of the model, the windows stacked along axis 0.
    """

    arrays: tuple[Array, ...]


@dataclass(frozen=True)
class TextPrompt:
    """A finished prompt for a text engine, with how to sample the answer.

    `literal` holds the [start, end) places in `text` that the user wrote. With `special` true an
    engine must read special tokens in the rest only: else a user could end a turn and begin
    another one. With `margin` the engine tells how near another token ever came. `quote` names the
    rule of `grammar` that stands for any words of the `literal` parts, in a row, where those have
    at most `quote_max` bytes, as JSON writes them.
    """

    text: str
    sampling: Sampling
    literal: tuple[tuple[int, int], ...] = ()
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    quote: str = ""
    quote_max: int = 4096
    json_schema: str | None = None
    add_bos: bool = True
    special: bool = False
    embed: bool = False
    margin: bool = False


@dataclass(frozen=True)
class TextPiece:
    """Some text of an answer in progress."""

    text: str
    tokens: int = 1


@dataclass(frozen=True)
class TextEnd:
    """The end of a generated text: the whole, the counts, and why it ended.

    `margin` is the least, over its tokens, of a token's probability over that and the likeliest
    other one's together, as the model alone has them: over 0.5 where no other token was likelier.
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish: str
    first_token_ms: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Embedding:
    """One vector for one text."""

    vector: tuple[float, ...] = field(repr=False)
    tokens_in: int = 0


@dataclass(frozen=True)
class Value:
    """A plain value, from an engine that has neither tensors nor text."""

    value: object


Prepared = Tensors | TextPrompt | Value
Piece = Tensors | TextPiece | TextEnd | Embedding | Value
