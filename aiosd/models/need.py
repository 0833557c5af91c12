"""How much RAM an expert will need, from the header of its model alone, before anything is loaded.

To admit by; what is measured after the load replaces it. The formulas for the model follow what
llama.cpp and XNNPACK allocate; fitted to bare forked processes of 3 MB on x86-64
(`tools/calibrate_ram.py`), they held within +10 % and 2 MB. What the worker and the pipeline around
the model take are round constants, chosen to lie above the bundled experts on one such machine: no
bound was shown for other packages, and for small models the estimate is mostly these constants.
"""

import functools
import platform
from dataclasses import dataclass, replace
from pathlib import Path

from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import EngineNeed, Manifest, Task
from aiosd.models.gguf import GgufFacts, read_gguf
from aiosd.models.tflite import TfliteFacts, read_tflite

MIB = 1_048_576
WORKER_BYTES = 8 * MIB  # a forked worker: pages it writes to, its own heap, its libraries
_LLAMA_BYTES = 3 * MIB  # llama.cpp's own structures, and OpenMP's
_TFLITE_BYTES = MIB  # XNNPACK's and TFLite's own structures and scratch space
_TOKEN_BYTES = 190  # a token in llama.cpp's vocabulary: text, score, two maps
_MERGE_BYTES = 140  # a merge of a byte-pair vocabulary: a map of pairs of texts
_LAYER_BYTES = 24_576  # tensors and graph nodes of a layer
_CELLS = 256  # llama.cpp rounds the context up to this
_OPERATOR_BYTES = 12_288  # one operator of TFLite with its kernel in XNNPACK
# What the pipeline before the model holds: Pillow and the decoded picture, a spectrum, features.
PIPELINE_BYTES = {
    InputType.IMAGE: 6 * MIB,
    InputType.AUDIO: 4 * MIB,
    InputType.TEXT: 4 * MIB,
    InputType.SERIES: 2 * MIB,
}
# llama.cpp: of this many layers one looks at the whole context, the others at the window.
_WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6}

# ggml-cpu/repack.cpp: types copied into another layout, by feature of the processor as
# /proc/cpuinfo names it.
_REPACKED = {
    "avx2": {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"},
    "avx512f": {"Q2_K"},
    "asimd": {"IQ4_NL"},
    "asimddp": {"Q4_0", "Q4_K", "Q5_K", "Q6_K", "MXFP4", "Q8_0"},
}


@dataclass(frozen=True)
class RamNeed:
    """Bytes an expert needs while loaded.

    `weights_bytes` are mapped from the file and the kernel may take them back; the others are
    private: `cache_bytes` grows with the context, `compute_bytes` with the batch, `packed_bytes`
    are copies of weights in another layout, `worker_bytes` the process and its tables.
    """

    weights_bytes: int
    cache_bytes: int = 0
    compute_bytes: int = 0
    packed_bytes: int = 0
    worker_bytes: int = WORKER_BYTES

    @property
    def private_bytes(self) -> int:
        """What nothing but the worker's end gives back."""
        return self.cache_bytes + self.compute_bytes + self.packed_bytes + self.worker_bytes

    @property
    def total_bytes(self) -> int:
        """All of it, with the whole model in RAM."""
        return self.weights_bytes + self.private_bytes


def ram_need(
    manifest: Manifest, model: Path | None, *, features: frozenset[str] | None = None
) -> RamNeed:
    """Return what the expert needs; `features` are the processor's, None for this machine's.

    A model of an engine that is not known here is taken to be read into private memory.

    Raises:
        PackageError: the model file is damaged, or not of the engine's kind.
    """
    need = _model_need(manifest, model, features)
    around = PIPELINE_BYTES.get(manifest.input.type, 0)
    return replace(need, worker_bytes=need.worker_bytes + around)


def _model_need(manifest: Manifest, model: Path | None, features: frozenset[str] | None) -> RamNeed:
    """Return what the model needs, without the pipeline around it."""
    if model is None:
        return RamNeed(0)
    if manifest.engine.name == "llama":
        facts = read_gguf(model)
        embeds = manifest.task is Task.TEXT_EMBED
        return gguf_need(facts, manifest.engine, features=features, embeds=embeds)
    if manifest.engine.name in {"litert", "tflite"}:
        return tflite_need(read_tflite(model))
    return RamNeed(0, compute_bytes=model.stat().st_size)


def gguf_need(
    facts: GgufFacts,
    engine: EngineNeed,
    *,
    features: frozenset[str] | None = None,
    embeds: bool = False,
) -> RamNeed:
    """Return what llama.cpp needs for a model with a context and a batch."""
    context = min(engine.context, facts.context_train or engine.context)
    batch = min(engine.batch, context)
    cells = -(-(batch if embeds else context) // _CELLS) * _CELLS
    repacked = _repacked(processor_features() if features is None else features)
    tables = (
        facts.vocabulary * _TOKEN_BYTES + facts.merges * _MERGE_BYTES + facts.layers * _LAYER_BYTES
    )
    return RamNeed(
        weights_bytes=facts.tensor_bytes,
        cache_bytes=_cache_bytes(facts, cells, batch) + facts.state_bytes,
        compute_bytes=_compute_bytes(facts, cells, batch, batch if embeds else 1),
        packed_bytes=sum(size for kind, size in facts.matrices if kind in repacked),
        worker_bytes=WORKER_BYTES + _LLAMA_BYTES + tables,
    )


def _cache_bytes(facts: GgufFacts, cells: int, batch: int) -> int:
    """Return the bytes of keys and values, of two bytes (f16) each."""
    windowed = min(cells, -(-(facts.window + batch) // _CELLS) * _CELLS)
    pattern = _WINDOW_PATTERN.get(facts.architecture, 1)
    total = 0
    for layer, heads in enumerate(facts.kv_heads):
        whole = not facts.window or (layer + 1) % pattern == 0
        total += (cells if whole else windowed) * heads
    return total * 2 * (facts.key_length + facts.value_length)


def _compute_bytes(facts: GgufFacts, cells: int, batch: int, outputs: int) -> int:
    """Return the bytes of intermediate results, of four bytes each.

    The widest place of a layer holds gate, up and their product beside four rows of the
    embedding's width; where every token has an output, the logits may be wider still. Then the
    mask (f16) of the batch against the cache, and the logits that are handed out.
    """
    wide = max(facts.feed_forward, facts.heads * facts.key_length)
    rows = batch * 4 * (3 * wide + 4 * facts.embedding)
    logits = 4 * facts.vocabulary
    peak = max(rows, outputs * logits + 12 * batch * facts.embedding)
    return (peak + 2 * batch * cells + logits) * 105 // 100 + 100_000


def tflite_need(facts: TfliteFacts) -> RamNeed:
    """Return what a TFLite model needs with XNNPACK, which packs weights and has its own arena."""
    return RamNeed(
        weights_bytes=facts.file_size,
        compute_bytes=2 * facts.arena_bytes
        + facts.pointer_bytes
        + _OPERATOR_BYTES * facts.operator_count,
        packed_bytes=facts.packed_bytes * 105 // 100,
        worker_bytes=WORKER_BYTES + _TFLITE_BYTES,
    )


@functools.cache
def processor_features() -> frozenset[str]:
    """Return this machine's processor features, as /proc/cpuinfo names them.

    Where they cannot be told, all that matter here: the need is then never too low.
    """
    key = "Features" if platform.machine() == "aarch64" else "flags"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return frozenset(value.split())
    return frozenset(_REPACKED)


def _repacked(features: frozenset[str]) -> set[str]:
    """Return the types that a processor's llama.cpp copies into another layout."""
    return set[str]().union(*(types for name, types in _REPACKED.items() if name in features))
