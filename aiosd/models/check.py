"""Whether a model file may be shown to a native library at all: the one door for what came in.

The libraries believe what a file says of itself, and crash or write where they should not. Here
every count, offset, length and index is looked at first. The readers walk a bounded number of
elements and keep a bounded number of bytes, so that no file costs more than about a second and
64 MB, whatever it holds.

What this cannot see is a model that is well formed and means harm: workers are walled in for that.
"""

from collections.abc import Callable
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import Manifest, PackageFile
from aiosd.models.flatbuffer import Table
from aiosd.models.gguf import facts_of
from aiosd.models.gguf_header import FLOAT32, INT32, STRING, GgufHeader, read_header
from aiosd.models.gguf_parts import read_model
from aiosd.models.tflite import Graph, Model, mapped

# Engines by the kind of file that they load; others bring their own.
GGUF_ENGINES = frozenset({"llama"})
TFLITE_ENGINES = frozenset({"litert", "tflite"})
_SCHEMA = 3  # schema.fbs, "Version" of TensorFlow Lite's files
_TOKENS = "tokenizer.ggml.tokens"
# Arrays that stand beside the tokens, with what llama.cpp reads them as.
_BESIDE = {"tokenizer.ggml.scores": FLOAT32, "tokenizer.ggml.token_type": INT32}
_LOW, _HIGH = ".lora_a", ".lora_b"


def check_package(manifest: Manifest, folder: Path) -> None:
    """Check the files of a package that an engine will load.

    Raises:
        PackageError: one is not what its engine may be shown; the message says why.
    """
    check_files(manifest, lambda file: folder / file.path)


def check_files(manifest: Manifest, place: Callable[[PackageFile], Path]) -> None:
    """Check the files of a package, wherever `place` says that their bytes lie.

    Raises:
        PackageError: as `check_package`.
    """
    if fault := manifest.parts_fault:
        raise PackageError(f"files: {fault}")
    model = manifest.model_files
    for file in manifest.files:
        if len(model) == 1 or file.role != "model":
            check_file(file, place(file), manifest.engine.name)
    if len(model) > 1:
        _check_gguf(read_model([place(file) for file in model]))


def check_file(file: PackageFile, path: Path, engine: str) -> None:
    """Check one file, a whole model or adapter of that engine, wherever it lies; others pass.

    Raises:
        PackageError: as `check_package`.
    """
    if file.role not in {"model", "adapter"}:
        return
    if engine in GGUF_ENGINES:
        if file.role == "adapter":
            _check_adapter(read_header(path))
        else:
            _check_gguf(read_model([path]))
    elif engine in TFLITE_ENGINES:
        _check_tflite(path)


def _check_gguf(header: GgufHeader) -> None:
    """Check what llama.cpp takes for granted in a model."""
    facts_of(header)
    if not header.tensors:
        header.fail("the file holds no tensors: it is a vocabulary and not a model")
    tokens = header.arrays.get(_TOKENS)
    if tokens is not None and tokens.kind != STRING:
        header.fail(f"{_TOKENS} is no list of texts: the header is damaged")
    for key, kind in _BESIDE.items():
        array = header.arrays.get(key)
        if key in header.values or (array is not None and array.kind != kind):
            header.fail(f"{key} has the wrong type: llama.cpp would misread it")
        if array is not None and array.count != (tokens.count if tokens else 0):
            header.fail(f"{key} has {array.count} entries, but there are not as many tokens")
    merges = header.arrays.get("tokenizer.ggml.merges")
    if merges is not None and merges.kind != STRING:
        header.fail("tokenizer.ggml.merges is no list of texts: the header is damaged")


def _check_adapter(header: GgufHeader) -> None:
    """Check that each tensor of an adapter has its other half, of the same rank."""
    if (
        header.values.get("general.type") != "adapter"
        or header.values.get("adapter.type") != "lora"
    ):
        header.fail("the file does not say that it is a LoRA adapter")
    for name, tensor in header.tensors.items():
        stem, low = name.removesuffix(_LOW), name.endswith(_LOW)
        if not low:
            stem = name.removesuffix(_HIGH)
        other = header.tensors.get(stem + (_HIGH if low else _LOW))
        if stem == name or other is None:
            header.fail(f"tensor {name!r} has no other half: this is no LoRA adapter")
        # Rows of the first are columns of the second (llama_adapter_lora: w->ne).
        rank = tensor.shape[1:2] if low else tensor.shape[:1]
        facing = other.shape[:1] if low else other.shape[1:2]
        if rank != facing or not rank:
            header.fail(f"tensor {name!r} and its other half have different ranks: damaged")


def _check_tflite(path: Path) -> None:
    """Check what TensorFlow Lite takes for granted."""
    with mapped(path) as reader:
        model = Model(reader)
        version = model.root.unsigned(0)
        if version != _SCHEMA:
            reader.fail(f"the schema's version is {version} and not {_SCHEMA}: convert it again")
        graphs = model.graphs()
        for graph in graphs:
            _check_quantization(graph, str(path))
        buffers = model.root.place(4, 4)[1]
        for entry in model.root.tables(6):
            if entry.unsigned(1) >= max(buffers, 1):
                reader.fail("metadata lie in a buffer that is not there: the file is damaged")
        for signature in model.root.tables(7):
            _check_signature(signature, graphs, str(path))


def _check_quantization(graph: Graph, path: str) -> None:
    """Check that scales and zero points are one, or one for each slice of the tensor."""
    for facts, table in zip(graph.tensors, graph.table.tables(0), strict=True):
        details = table.table(4)
        if details is None:
            continue
        scales, zeros = details.place(2, 4)[1], details.place(3, 8)[1]
        axis = details.integer(6)
        shape = table.integers(0)
        if zeros not in {0, scales} and not (scales == 0 and zeros == 1):
            raise PackageError(
                f"tensor {facts.name[:64]!r} has {scales} scales and {zeros} zero points: damaged",
                path=path,
            )
        if scales > 1 and not (0 <= axis < len(shape) and shape[axis] == scales):
            raise PackageError(
                f"tensor {facts.name[:64]!r} has {scales} scales along an axis that is not so "
                "long: damaged",
                path=path,
            )


def _check_signature(signature: Table, graphs: list[Graph], path: str) -> None:
    """Check that a signature names a graph that is there, and tensors of it."""
    number = signature.unsigned(4)
    if number >= len(graphs):
        raise PackageError(f"a signature is of graph {number}, which is not there", path=path)
    for place in (0, 1):
        for entry in signature.tables(place):
            if entry.unsigned(1) >= len(graphs[number].tensors):
                raise PackageError("a signature names a tensor that is not there", path=path)
