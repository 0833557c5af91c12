"""The C library llama.cpp through the ctypes layer of llama-cpp-python, quiet and lean.

Only the ctypes layer is imported: the package's own `__init__` would bring in NumPy (which starts
threads, and a host must have one thread when it forks), jinja2 and multiprocessing, none of which
this engine needs.
"""

import ctypes
import importlib
import importlib.util
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiosd.domain.errors import PackageError
from aiosd.domain.model_parts import part_names

log = logging.getLogger(__name__)

# ggml.h: GGML_LOG_LEVEL_DEBUG 1, INFO 2, WARN 3, ERROR 4, CONT 5.
_WARN, _ERROR, _CONTINUED = 3, 4, 5
_POOLING_NONE = 0  # llama.h: LLAMA_POOLING_TYPE_NONE


def _import_binding() -> Any:  # noqa: ANN401 -- ctypes functions made at run time have no types
    """Import `llama_cpp.llama_cpp` without running the package around it."""
    name = "llama_cpp"
    if name in sys.modules:
        return importlib.import_module(f"{name}.{name}")
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError("llama-cpp-python is not installed", name=name)
    # A bare stand-in, so that the submodule finds its siblings; taken away again, so that whoever
    # imports the whole package later gets the whole package.
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{name}.{name}")
    finally:
        del sys.modules[name]


lib = _import_binding()

BINDING_VERSION = "0.3.36"
if not hasattr(lib.llama_model_params, "load_mode"):
    raise ImportError(
        f"llama-cpp-python {BINDING_VERSION} is needed: the one here has no load_mode"
    )


class Journal:
    """What llama.cpp said lately: every line to Python's log at debug, complaints kept."""

    def __init__(self) -> None:
        self.lines: list[str] | None = None
        self._complaints: deque[str] = deque(maxlen=8)
        self._part: list[str] = []
        self._level = 0
        # The callback is kept here: a collected one would be called by C all the same.
        self._callback = lib.llama_log_callback(self._hear)

    def listen(self) -> None:
        """Take over the library's log."""
        lib.llama_log_set(self._callback, None)

    def clear(self) -> None:
        """Forget the complaints of what was done before."""
        self._complaints.clear()
        self._part.clear()

    def reason(self) -> str:
        """Return the latest complaints as one line, or an empty string."""
        return "; ".join(self._complaints)

    def _hear(self, level: int, text: bytes, _data: object) -> None:
        if level == _CONTINUED:
            if self._part:
                self._part.append(text.decode("utf-8", "replace"))
                self._keep()
            return
        self._level = level
        if level < _WARN and self.lines is None and not log.isEnabledFor(logging.DEBUG):
            self._part.clear()
            return
        self._part = [text.decode("utf-8", "replace")]
        self._keep()

    def _keep(self) -> None:
        """Take the line in if it is whole."""
        if not self._part[-1].endswith("\n"):
            return
        line = "".join(self._part).strip()
        self._part = []
        if self.lines is not None:
            self.lines.append(line)
        if self._level >= _ERROR:
            self._complaints.append(line)
        log.debug("%s", line)


journal = Journal()


def start() -> None:
    """Make the library ready: tables and the list of processors, shared by all forked workers.

    Starts no thread and may be called again.
    """
    # Where a debugger is installed, an abort would start it and hang about for seconds.
    os.putenv("GGML_NO_BACKTRACE", "1")
    journal.listen()
    lib.llama_backend_init()
    lib.llama_supports_gpu_offload()  # asks the list of processors, and so makes it


def model_params(*, no_alloc: bool = False) -> ctypes.Structure:
    """Return the settings of a load: mapped, on the processor alone.

    With `no_alloc` nothing is read but the header; that needs load mode NONE, as the library
    aborts the process over a mapping without memory.
    """
    params: ctypes.Structure = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    params.no_alloc = no_alloc
    params.load_mode = lib.LLAMA_LOAD_MODE_NONE if no_alloc else lib.LLAMA_LOAD_MODE_MMAP
    return params


def context_limit(model: int, wanted: int) -> int:
    """Return how many tokens the context will have: no more than the model was trained for."""
    trained = int(lib.llama_model_n_ctx_train(model))
    if 0 < trained < wanted:
        log.info("context %d is more than the %d the model was trained for", wanted, trained)
        return trained
    return wanted


# ggml.h, enum ggml_type: the types that keys and values may be kept in.
_CACHE_TYPES = {"f16": 1, "q8_0": 8}


def context_params(
    context: int, batch: int, threads: int, *, embed: bool, cache: str = "f16", beams: int = 1
) -> ctypes.Structure:
    """Return the settings of a context of `context` tokens, for so many texts that share them.

    An embedding is taken of one whole batch, so there the context is no larger than the batch;
    the pooling is the model's own. A model with a sliding window keeps the window only.
    """
    params: ctypes.Structure = lib.llama_context_default_params()
    params.type_k = params.type_v = _CACHE_TYPES[cache]
    params.n_batch = params.n_ubatch = min(batch, context)
    params.n_ctx = params.n_batch if embed else context
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = embed
    params.swa_full = False
    if not embed:
        # Only the last token of a batch is ever sampled from; without this, logits of a whole
        # batch are reserved: 150 MB for a vocabulary of 150,000 and a batch of 256.
        params.n_outputs_max = beams
        params.n_seq_max = beams
        params.kv_unified = beams > 1
    return params


def model_paths(first: Path) -> list[str]:
    """Return the files of the model that begins with `first`, in their order."""
    return [str(first.with_name(name)) for name in part_names(first.name)]


def open_model(paths: Sequence[str], params: ctypes.Structure) -> int:
    """Load the model in these files and return its handle.

    Several are its parts in their order: the library opens these and looks for no others.

    Raises:
        PackageError: llama.cpp refuses them; with its own words.
    """
    journal.listen()  # again, as importing the whole of llama_cpp takes the log over
    journal.clear()
    names = [path.encode() for path in paths]
    if len(names) == 1:
        model = lib.llama_model_load_from_file(names[0], params)
    else:
        array = (ctypes.c_char_p * len(names))(*names)
        model = lib.llama_model_load_from_splits(array, len(names), params)
    if not model:
        reason = journal.reason() or "llama.cpp gave no reason"
        raise PackageError(f"the model cannot be loaded: {reason}", path=paths[0])
    return int(model)


def open_context(model: int, params: ctypes.Structure, path: str) -> int:
    """Open a context on a loaded model and return its handle.

    Raises:
        PackageError: the model's shapes and the settings do not go together, or no memory.
    """
    journal.clear()
    context = lib.llama_init_from_model(model, params)
    if context and params.embeddings and lib.llama_pooling_type(context) == _POOLING_NONE:
        # A text model has no pooling of its own; the mean of its tokens is the usual choice.
        lib.llama_free(context)
        params.pooling_type = lib.LLAMA_POOLING_TYPE_MEAN
        context = lib.llama_init_from_model(model, params)
    if not context:
        reason = journal.reason() or "llama.cpp gave no reason"
        raise PackageError(f"no context can be opened on the model: {reason}", path=path)
    return int(context)


def open_adapter(model: int, path: str) -> Any:  # noqa: ANN401 -- a pointer of ctypes
    """Load a LoRA adapter for a loaded model, which frees it with itself; return its handle.

    Raises:
        PackageError: it is no adapter, or does not fit the model; with llama.cpp's own words.
    """
    journal.clear()
    adapter = lib.llama_adapter_lora_init(model, path.encode())
    if not adapter:
        reason = journal.reason() or "llama.cpp gave no reason"
        raise PackageError(f"the adapter does not fit its base: {reason}", path=path)
    return adapter


def apply_adapter(context: int, adapter: Any, path: str) -> None:  # noqa: ANN401 -- likewise
    """Let a context compute with an adapter, in full strength.

    Raises:
        PackageError: llama.cpp refuses.
    """
    adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
    scales = (ctypes.c_float * 1)(1.0)
    if lib.llama_set_adapters_lora(context, adapters, 1, scales):
        raise PackageError(f"the adapter cannot be applied: {journal.reason()}", path=path)
