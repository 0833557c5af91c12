"""What a GGUF model will need in RAM, asked of llama.cpp itself by a load that allocates nothing.

Exact where `aiosd.models.need` estimates; for a child of an engine host, as it runs the library on
a file. llama.cpp tells the sizes in its log only, in MiB with two decimals, so each is rounded up.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.engines import llama_library
from aiosd.engines.llama_library import journal, lib

_MIB = 1_048_576
_ROUNDING = 0.005  # half of the last decimal
_SIZE = re.compile(r"size\s*=\s*(?P<mib>\d+\.\d+) MiB")
_KV = re.compile(r"^llama_(?:kv_cache|memory)\w*: size =")
_COMPUTE = re.compile(r"(?:compute|output) buffer size")


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes a loaded model takes: `weights_bytes` are mapped from the file, the others are not.

    Not counted: the vocabulary, the copy of weights that some processors repack, the interpreter.
    """

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int


def plan_memory(model: Path, need: EngineNeed, *, embed: bool = False) -> MemoryPlan:
    """Return what `LlamaEngine.load` of this file with these settings will allocate.

    Raises:
        PackageError: llama.cpp cannot run the file, or its log is not as expected.
    """
    llama_library.start()
    journal.lines = []
    path = str(model)
    paths = llama_library.model_paths(model)
    try:
        handle = llama_library.open_model(paths, llama_library.model_params(no_alloc=True))
        try:
            limit = llama_library.context_limit(handle, need.context)
            params = llama_library.context_params(
                limit, need.batch, 1, embed=embed, beams=need.beams
            )
            context = llama_library.open_context(handle, params, path)
            weights = int(lib.llama_model_size(handle))
            lib.llama_free(context)
        finally:
            lib.llama_model_free(handle)
        lines = journal.lines
    finally:
        journal.lines = None
    # A context that had to be opened a second time, for its pooling, counts once: the last.
    compute = _sum([line for line in lines if _COMPUTE.search(line)][-2:])
    if not compute:
        raise PackageError("llama.cpp did not say what the model needs", path=path)
    kv = [line for line in lines if _KV.search(line)]
    if embed and len(kv) > 1:
        kv = kv[len(kv) // 2 :]
    return MemoryPlan(weights, _sum(kv), compute)


def _sum(lines: list[str]) -> int:
    """Add up the sizes that lines tell, in bytes."""
    sizes = [float(found["mib"]) for line in lines if (found := _SIZE.search(line))]
    return math.ceil(sum(size + _ROUNDING for size in sizes) * _MIB)
