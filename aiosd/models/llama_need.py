"""What llama.cpp takes for a GGUF model with a context and a batch, part by part.

Checked against llama-cpp-python 0.3.36; `python -m tools.bench --only need` compares
it with real workers. Names in comments are those of llama.cpp's sources.
"""

import functools
import platform
from dataclasses import replace
from pathlib import Path

from aiosd.domain.manifest import EngineNeed
from aiosd.models.gguf import GgufFacts
from aiosd.models.ram_need import WORKER_BYTES, RamNeed

# llama_kv_cache: of f16 two bytes for each number, of q8_0 34 for each block of 32.
_CACHE_BITS = {"f16": 16.0, "q8_0": 8.5}
# llama_kv_cells: position, extent, shift and a set of 256 sequences take 48 bytes in each cell, and
# a used one is in a std::set and in a std::map as well, 48 bytes of heap each.
_CELL_BYTES = 48 + 48 + 48
_CELLS = 256  # the context is rounded up to whole blocks of so many cells
# llama_vocab: a token's text, score and attributes, its piece, and its place in a hash map.
_TOKEN_BYTES = 160
_MERGE_BYTES = 140  # a merge of a byte-pair vocabulary: a map of pairs of texts
# llama_token_data_array of a sampler (12 bytes a token), and the last prompt's logits, kept (4).
_CHOICE_BYTES = 12 + 4
# llama_context::graph_max_nodes: eight nodes a tensor, 1024 at least, in each of three graphs and
# once in the scheduler.
_NODES_A_TENSOR, _LEAST_NODES, _NODE_BYTES = 8, 1024, 1_536
_NODES_AN_ADAPTER = 6  # llama_adapter_lora::get_n_nodes, for each pair of tensors
# ggml-cpu, GGML_FA_TILE_Q and _KV: flash attention works in tiles of so many rows.
_TILE = 64
_INPUT_BYTES = 64  # position, token, two places in the cache, for each token of a batch
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
# Code of libllama and libggml that the host has not run yet, OpenMP, the library's small
# structures, and pages that our own modules wrote: left over of 14 models, 2.3 to 3.6 MB on x86-64.
_LIBRARY_BYTES = 3_900_000


def gguf_need(
    facts: GgufFacts,
    engine: EngineNeed,
    *,
    features: frozenset[str] | None = None,
    embeds: bool = False,
    threads: int = 1,
) -> RamNeed:
    """Return what llama.cpp needs for a model with a context and a batch."""
    context = min(engine.context, facts.context_train or engine.context)
    batch = min(engine.batch, context)
    cells = -(-(batch if embeds else context) // _CELLS) * _CELLS
    repacked = _repacked(processor_features() if features is None else features)
    packed = sum(size for kind, size in facts.matrices if kind in repacked)
    tables = (
        facts.vocabulary * (_TOKEN_BYTES + _CHOICE_BYTES)
        + facts.merges * _MERGE_BYTES
        + _NODE_BYTES * max(_LEAST_NODES, _NODES_A_TENSOR * facts.tensor_count)
    )
    return RamNeed(
        weights_bytes=_mapped_bytes(facts, repacked),
        cache_bytes=_cache_bytes(facts, cells, batch, engine.cache) + facts.state_bytes,
        compute_bytes=_compute_bytes(
            facts, cells, batch, batch if embeds else engine.beams, threads
        )
        + cells * _CELL_BYTES,
        packed_bytes=packed,
        tables_bytes=tables,
        worker_bytes=WORKER_BYTES + _LIBRARY_BYTES,
        # The whole file is mapped and in RAM (MAP_POPULATE) until all weights are where they stay.
        loading_bytes=facts.file_size + packed + facts.vocabulary * _TOKEN_BYTES + WORKER_BYTES,
    )


def with_adapter(need: RamNeed, base: GgufFacts, adapter: GgufFacts, engine: EngineNeed) -> RamNeed:
    """Return what the model needs with a LoRA adapter on it.

    llama_adapter_lora_init reads the adapter into memory of its own; build_lora_mm keeps one more
    row of results beside the product that it adds to.
    """
    wide = max(base.feed_forward, base.heads * base.key_length, base.embedding)
    batch = min(engine.batch, engine.context)
    nodes = _NODE_BYTES * _NODES_AN_ADAPTER * adapter.tensor_count // 2
    return replace(
        need,
        packed_bytes=need.packed_bytes + adapter.tensor_bytes,
        compute_bytes=need.compute_bytes + 4 * batch * wide,
        tables_bytes=need.tables_bytes + nodes,
    )


def _mapped_bytes(facts: GgufFacts, repacked: set[str]) -> int:
    """Return the bytes that stay mapped: of each file from the first tensor used there to the last.

    llama_mmap::unmap_fragment gives back what lies before and behind.
    """
    total = 0
    for places in facts.places:
        used = [(begin, end) for kind, begin, end in places if kind not in repacked]
        if used:
            total += max(end for _, end in used) - min(begin for begin, _ in used)
    return total


def _cache_bytes(facts: GgufFacts, cells: int, batch: int, kind: str) -> int:
    """Return the bytes of keys and values, all of which are cleared when the context is made."""
    windowed = min(cells, -(-(facts.window + batch) // _CELLS) * _CELLS)
    pattern = _WINDOW_PATTERN.get(facts.architecture, 1)
    total = 0
    for layer, heads in enumerate(facts.kv_heads):
        whole = not facts.window or (layer + 1) % pattern == 0
        total += (cells if whole else windowed) * heads
    return int(total * (facts.key_length + facts.value_length) * _CACHE_BITS[kind] / 8)


def _compute_bytes(facts: GgufFacts, cells: int, batch: int, outputs: int, threads: int) -> int:
    """Return the bytes of intermediate results, of four bytes each unless said otherwise.

    ggml_gallocr: the widest place of a layer holds gate, up and their product beside four rows of
    the embedding's width; where every token has an output, the logits may be wider still; with them
    the mask (f16) of the batch against the cache, and the inputs. ggml_graph_plan: one more buffer
    for a product's input in the type of its weights, or for the tiles of flash attention.
    llama_context::output_reserve: the logits that are handed out.
    """
    wide = max(facts.feed_forward, facts.heads * facts.key_length)
    rows = batch * 4 * (3 * wide + 4 * facts.embedding)
    logits = 4 * facts.vocabulary
    peak = max(rows, outputs * logits + 12 * batch * facts.embedding)
    work = max(2 * batch * max(wide, facts.embedding), threads * _tile_bytes(facts))
    return peak + 2 * batch * cells + _INPUT_BYTES * batch + work + outputs * logits


def _tile_bytes(facts: GgufFacts) -> int:
    """Return a thread's share of the scratch space of flash attention."""
    key, value = facts.key_length, facts.value_length
    return 4 * _TILE * (2 * key + 2 * value + 2 * _TILE)


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
