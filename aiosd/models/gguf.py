"""What a GGUF file says of itself, read within strict limits and without loading the model.

The format is described in ggml's `docs/gguf.md`. Nothing is believed: every count has a limit,
every offset must lie in the file, and what does not fit is a `PackageError`. Large arrays (a
vocabulary) are walked over, never built.
"""

from dataclasses import dataclass, field
from pathlib import Path

from aiosd.models.gguf_header import MAX_KEPT, Array, GgufHeader, sane
from aiosd.models.gguf_parts import part_paths, read_model

_LOOKED_UP = "token_embd.weight"  # the table of embeddings, of which rows are taken
_NO_ARRAY = Array(0, 0)


@dataclass(frozen=True)
class GgufFacts:
    """The facts of one model; a number that the file does not give is 0, a text empty.

    `kv_heads` has one entry per layer. `quantisation` is the bytes of tensors by type, largest
    first. `rope_scaling` is "none" unless the file says otherwise. `window` is the sliding window
    in tokens. `matrices` is the bytes of the weights of matrix products by type, as llama.cpp
    copies those of some types into another layout; `places` says for each file of the model where
    each tensor begins and ends, with its type if it is such a matrix and nothing else.
    `state_bytes` is the state of a recurrent model.
    """

    architecture: str
    name: str
    context_train: int
    layers: int
    embedding: int
    heads: int
    kv_heads: tuple[int, ...] = field(repr=False)
    key_length: int
    value_length: int
    feed_forward: int
    vocabulary: int
    merges: int
    rope_base: float
    rope_scaling: str
    window: int
    state_bytes: int
    tokenizer: str
    quantisation: tuple[tuple[str, int], ...]
    tensor_count: int
    tensor_bytes: int
    matrices: tuple[tuple[str, int], ...]
    places: tuple[tuple[tuple[str, int, int], ...], ...] = field(repr=False)
    alignment: int
    file_size: int


def read_gguf(path: Path) -> GgufFacts:
    """Return the facts of the model at `path`, which names the first file of one in parts.

    Raises:
        PackageError: it is not a whole, sane GGUF model; the message says what is wrong and what to
            do.
    """
    return facts_of(read_model(part_paths(path)))


def facts_of(header: GgufHeader) -> GgufFacts:
    """Return the facts that a header tells.

    Raises:
        PackageError: they contradict each other, or are not those of a model.
    """
    return _Facts(header).read()


class _Facts:
    """Makes facts of one header."""

    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self._fail = header.fail
        self._whole = header.whole
        self._values = header.values
        self._arrays = header.arrays
        self._tensors = header.tensors

    def read(self) -> GgufFacts:
        architecture = self._text("general.architecture")
        if not architecture:
            self._fail("general.architecture is missing: this is not a model")
        arch, whole = architecture, self._whole
        layers = whole(f"{arch}.block_count")
        embedding = whole(f"{arch}.embedding_length")
        heads = self._most(f"{arch}.attention.head_count")
        length = embedding // heads if heads else 0
        mix: dict[str, int] = {}
        for tensor in self._tensors.values():
            mix[tensor.kind] = mix.get(tensor.kind, 0) + tensor.size
        return GgufFacts(
            architecture=arch,
            name=self._text("general.name"),
            context_train=whole(f"{arch}.context_length"),
            layers=layers,
            embedding=embedding,
            heads=heads,
            kv_heads=self._per_layer(f"{arch}.attention.head_count_kv", layers, heads),
            key_length=whole(f"{arch}.attention.key_length", length),
            value_length=whole(f"{arch}.attention.value_length", length),
            feed_forward=max(
                self._most(f"{arch}.feed_forward_length"),
                whole(f"{arch}.expert_used_count") * whole(f"{arch}.expert_feed_forward_length"),
            ),
            vocabulary=self._vocabulary(arch),
            merges=self._arrays.get("tokenizer.ggml.merges", _NO_ARRAY).count,
            rope_base=self._real(f"{arch}.rope.freq_base"),
            rope_scaling=self._text(f"{arch}.rope.scaling.type") or "none",
            window=whole(f"{arch}.attention.sliding_window"),
            state_bytes=layers * self._state(arch, embedding),
            tokenizer=self._text("tokenizer.ggml.model"),
            quantisation=_by_size(mix),
            tensor_count=len(self._tensors),
            tensor_bytes=sum(mix.values()),
            matrices=_by_size(self._matrices()),
            places=self._places(),
            alignment=self._header.alignment,
            file_size=self._header.size,
        )

    def _state(self, arch: str, embedding: int) -> int:
        """Return the bytes of one layer's state (llama.cpp, llama_hparams: n_embd_r, n_embd_s)."""
        inner, state = self._whole(f"{arch}.ssm.inner_size"), self._whole(f"{arch}.ssm.state_size")
        groups, kernel = (
            self._whole(f"{arch}.ssm.group_count"),
            self._whole(f"{arch}.ssm.conv_kernel"),
        )
        mamba = inner * state + max(kernel - 1, 0) * (inner + 2 * groups * state)
        wkv = self._whole(f"{arch}.wkv.head_size")
        return 4 * (mamba + (embedding * (wkv + 2) if wkv else 0))

    def _vocabulary(self, arch: str) -> int:
        """Return the size of the vocabulary, by the longest of the three places that tell it."""
        tokens = self._arrays.get("tokenizer.ggml.tokens", _NO_ARRAY).count
        table = self._tensors.get(_LOOKED_UP)
        rows = table.shape[-1] if table is not None and len(table.shape) > 1 else 0
        return max(tokens, rows, self._whole(f"{arch}.vocab_size"))

    def _matrices(self) -> dict[str, int]:
        """Return the bytes of matrices by type.

        The table of embeddings is only looked up, unless there is no `output.weight`: then it is
        multiplied with as well. Rows that are no multiple of 4 are never copied.
        """
        tied = "output.weight" not in self._tensors
        found: dict[str, int] = {}
        for name, tensor in self._tensors.items():
            if _multiplied(tensor.shape) and (tied or name != _LOOKED_UP):
                found[tensor.kind] = found.get(tensor.kind, 0) + tensor.size
        return found

    def _places(self) -> tuple[tuple[tuple[str, int, int], ...], ...]:
        """Return by file each tensor's place, and its type if it is a matrix for products only."""
        files: dict[int, list[tuple[str, int, int]]] = {}
        for name, tensor in self._tensors.items():
            only = _multiplied(tensor.shape) and name != _LOOKED_UP
            at = self._header.begin + tensor.at
            place = (tensor.kind if only else ""), at, at + tensor.size
            files.setdefault(tensor.part, []).append(place)
        return tuple(tuple(places) for places in files.values())

    def _per_layer(self, key: str, layers: int, default: int) -> tuple[int, ...]:
        """Return one number per layer, from a number or an array."""
        if layers > MAX_KEPT:
            self._fail(f"{layers} layers are over the {MAX_KEPT} allowed")
        if key in self._arrays:
            numbers = self._arrays[key].numbers
            if len(numbers) < layers or not all(sane(number) for number in numbers):
                self._fail(f"{key} does not have a sane number for each of {layers} layers")
            return tuple(int(number) for number in numbers[:layers])
        return (self._whole(key, default),) * layers

    def _most(self, key: str) -> int:
        """Return a number, or the largest of an array of numbers."""
        if key in self._arrays:
            numbers = self._arrays[key].numbers
            if not numbers or not all(sane(number) for number in numbers):
                self._fail(f"{key} is not made of sane numbers: the header is damaged")
            return max(int(number) for number in numbers)
        return self._whole(key)

    def _real(self, key: str) -> float:
        value = self._values.get(key, 0.0)
        if isinstance(value, str):
            self._fail(f"{key} is a text and not a number: the header is damaged")
        return float(value)

    def _text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            self._fail(f"{key} is not a text: the header is damaged")
        return value[:MAX_KEPT]


def _multiplied(shape: tuple[int, ...]) -> bool:
    """Tell whether llama.cpp may copy a tensor of that shape: a matrix of whole groups of rows."""
    return len(shape) > 1 and shape[1] % 4 == 0


def _by_size(bytes_of: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Return pairs, the largest first."""
    return tuple(sorted(bytes_of.items(), key=lambda item: (-item[1], item[0])))
