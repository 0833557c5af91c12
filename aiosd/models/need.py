"""How much RAM an expert will need, from the header of its model alone, before anything is loaded.

To admit by; what is measured after the load replaces it. The parts of a GGUF model are counted in
`aiosd.models.llama_need` as llama.cpp allocates them, those of a TFLite model here as XNNPACK does.
What a worker holds beside its model was measured, and rests on that: see `WORKER_BYTES`.
"""

from dataclasses import replace
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.inputs import InputType
from aiosd.domain.manifest import Manifest, Task
from aiosd.domain.pre_steps import ImageInk
from aiosd.models.gguf import read_gguf
from aiosd.models.llama_need import gguf_need, with_adapter
from aiosd.models.ram_need import WORKER_BYTES, RamNeed
from aiosd.models.tflite import TfliteFacts, read_tflite

# LiteRT's code that the host has not run yet, and its own structures: 5.6 MB were left over of the
# keyword model, which has no pipeline to speak of, on x86-64.
_LIBRARY_BYTES = 5_700_000
_OPERATOR_BYTES = 12_288  # one operator of TFLite with its kernel in XNNPACK
# What the pipeline before the model holds: parsed settings, code of NumPy and Pillow that the host
# has not run yet, the decoded input. Left over of the experts of each kind were, in MB: text 0.6 to
# 0.8, series 1.8, audio 1.3 to 1.9, image 1.7 to 3.6; with a step that solves equations 4.2.
PIPELINE_BYTES = {
    InputType.TEXT: 800_000,
    InputType.SERIES: 1_900_000,
    InputType.AUDIO: 1_900_000,
    InputType.IMAGE: 3_000_000,
}
# A grammar of llama.cpp's sampler with its stacks, and the reader of JSON schemas.
_GRAMMAR_BYTES = 1_600_000
_SOLVER_BYTES = 1_000_000  # image.ink: NumPy's linear algebra, which brings in OpenBLAS


def ram_need(
    manifest: Manifest,
    model: Path | None,
    adapter: Path | None = None,
    *,
    features: frozenset[str] | None = None,
) -> RamNeed:
    """Return what the expert needs; `features` are the processor's, None for this machine's.

    A model of an engine that is not known here is taken to be read into private memory.

    Raises:
        PackageError: the model file is damaged, not of the engine's kind, or of another
            architecture than its adapter.
    """
    need = _model_need(manifest, model, features)
    if model is not None and adapter is not None:
        need = _with_adapter(need, manifest, model, adapter)
    around = PIPELINE_BYTES.get(manifest.input.type, 0)
    if any(isinstance(step, ImageInk) for step in manifest.pre):
        around += _SOLVER_BYTES
    if manifest.prompt and (manifest.prompt.grammar or manifest.prompt.json_schema):
        around += _GRAMMAR_BYTES
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


def _with_adapter(need: RamNeed, manifest: Manifest, model: Path, adapter: Path) -> RamNeed:
    """Add an adapter to what its base needs."""
    base, change = read_gguf(model), read_gguf(adapter)
    if base.architecture != change.architecture:
        raise PackageError(
            f"the adapter is for models of architecture {change.architecture}, its base is "
            f"{base.architecture}: it was made for another base",
            path=str(adapter),
        )
    return with_adapter(need, base, change, manifest.engine)


def tflite_need(facts: TfliteFacts) -> RamNeed:
    """Return what a TFLite model needs with XNNPACK, which packs weights and has its own arena.

    Operators that XNNPACK takes over have their results in its arena and not in TFLite's, which
    then holds inputs and outputs alone; others the other way round.
    """
    ends = sum(tensor.size_bytes for tensor in (*facts.inputs, *facts.outputs))
    return RamNeed(
        weights_bytes=facts.file_size,
        compute_bytes=facts.arena_bytes
        + ends
        + facts.pointer_bytes
        + _OPERATOR_BYTES * facts.operator_count,
        packed_bytes=facts.packed_bytes * 105 // 100,
        worker_bytes=WORKER_BYTES + _LIBRARY_BYTES,
    )
