"""Text models in GGUF files, by llama.cpp: generation piece by piece, and embeddings.

Nothing is taken from the model file but the model: the prompt arrives finished, and the file's
own chat template is never read. The low-level library is driven directly, because the Python
package's high-level class reads all metadata, compiles chat templates and copies logits.
"""

import ctypes
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from aiosd.domain.errors import CancelledError, ExpertFailedError, InvalidError, PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Embedding, Piece, Prepared, TextEnd, TextPiece, TextPrompt
from aiosd.engines import llama_library, memory
from aiosd.engines.gbnf import Grammar, grammar_of
from aiosd.engines.llama_beams import Beams
from aiosd.engines.llama_library import lib
from aiosd.engines.llama_margin import Watched
from aiosd.engines.llama_sampler import Choice, Picker
from aiosd.engines.llama_tokens import Tokens
from aiosd.engines.quoting import quoting_of
from aiosd.engines.text_stream import TextStream

llama_library.start()  # at import, so that a host pays once for all the workers it forks

_VERSION = version_of("llama-cpp-python")  # read once, by the host
_ABORTED = 2  # llama.h, llama_decode: the abort callback ended the computation
_LOOK_SECONDS = 0.005


class LlamaEngine:
    """One GGUF model; see `aiosd.engines.engine.Engine` for the contract.

    The context is `engine.context` of the manifest, or what the model was trained for if that is
    less; a text to embed must fit in one `engine.batch`. The same prompt, settings and seed give
    the same text on the same machine with the same number of threads, whatever was answered
    before: a kept prefix is reused only in whole batches, so that every batch has the same shape as
    without. With other threads llama.cpp adds up attention in another order, and the last bits of a
    probability may differ. Parked, it keeps the model and its vocabulary, and has no context: no
    cache of keys and values, no buffers.
    """

    def __init__(self) -> None:
        self._path = ""
        self._paths: list[str] = []
        self._model = 0
        self._vocab = 0
        self._context = 0
        self._adapter: Any = None
        self._adapter_path = ""
        self._embeds = False
        self._unmapped = False
        self._limit = 0
        self._batch = 0
        self._threads = self._most = 1
        self._cache = "f16"
        self._beams = 1
        self._reusable = False
        self._past: list[int] = []
        self._whole: list[int] = []
        self._logits = b""
        self._tokens = Tokens(0)

    def version(self) -> str:
        """Name and version of the library that runs the model."""
        return f"llama-cpp-python {_VERSION}"

    def load(self, files: Mapping[str, Path], need: EngineNeed, *, threads: int) -> None:
        """Load the model of role "model", whose parts lie beside it; weights stay mapped from it.

        With a file of role "adapter" the model computes as that changes it.

        Raises:
            PackageError: there is no such file, llama.cpp cannot run it, or the adapter does not
                fit it.
        """
        if "model" not in files:
            raise PackageError('a llama expert needs a file with role = "model"')
        self.close()
        self._path = str(files["model"])
        self._paths = llama_library.model_paths(files["model"])
        self._model = llama_library.open_model(self._paths, llama_library.model_params())
        if lib.llama_model_has_encoder(self._model):
            self.close()
            raise PackageError("models with an encoder are not supported", path=self._path)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._tokens = Tokens(self._vocab)
        self._limit = llama_library.context_limit(self._model, need.context)
        self._batch = min(need.batch, self._limit)
        self._cache, self._beams = need.cache, need.beams
        self._threads = self._most = threads
        # A window or a recurrent state cannot be wound back to an earlier place.
        self._reusable = not (
            lib.llama_model_n_swa(self._model)
            or lib.llama_model_is_recurrent(self._model)
            or lib.llama_model_is_hybrid(self._model)
        )
        if "adapter" in files:
            self._adapter_path = str(files["adapter"])
            try:
                self._adapter = llama_library.open_adapter(self._model, self._adapter_path)
            except PackageError:
                self.close()
                raise
        self._open_context(embed=False)

    def run(self, prepared: Prepared, *, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """Yield the pieces of the answer and a `TextEnd`, or one `Embedding`.

        Raises:
            InvalidError: not a text, a setting out of range, a bad grammar, or a prompt that is
                longer than the context.
            CancelledError: `cancelled()` became true.
            ExpertFailedError: llama.cpp could not compute the answer.
        """
        if not isinstance(prepared, TextPrompt):
            raise InvalidError("a llama expert takes text", field="input.type")
        if not self._model:
            raise ExpertFailedError("no model is loaded", reason="not_loaded")
        if not self._context:
            self.resume()
        if prepared.embed:
            yield self._embed(prepared, cancelled)
        else:
            yield from self._generate(prepared, cancelled)

    def park(self, *, pages: bool) -> None:
        """Free the context, with `pages` also unmap the weights; the vocabulary stays."""
        self._free_context()
        memory.trim_heap()
        if pages:
            memory.unmap_pages(self._paths)
            self._unmapped = True

    def resume(self) -> float | None:
        """Open the context again, the weights mapped before; return the seconds those took.

        Raises:
            PackageError: there is no memory for it.
        """
        seconds = None
        if self._unmapped:
            started = time.perf_counter()
            memory.map_pages(self._paths)
            seconds = time.perf_counter() - started
            self._unmapped = False
        if not self._context:
            self._open_context(embed=self._embeds)
        return seconds

    def use_threads(self, threads: int) -> None:
        """Use at most so many threads from the next token or batch on."""
        threads = min(threads, self._most)
        if threads != self._threads:
            self._threads = threads
            if self._context:
                lib.llama_set_n_threads(self._context, threads, threads)

    def close(self) -> None:
        """Free the context and the model."""
        self._free_context()
        if self._model:
            lib.llama_model_free(self._model)
        self._model = self._vocab = 0
        self._adapter = None

    def _free_context(self) -> None:
        """Free the context, if there is one, and forget what was in it."""
        if self._context:
            lib.llama_free(self._context)
        self._context = 0
        self._past, self._whole, self._logits = [], [], b""

    def _open_context(self, *, embed: bool) -> None:
        """Open the one context; an expert either writes or embeds, so the other kind is let go."""
        self._free_context()
        params = llama_library.context_params(
            self._limit, self._batch, self._threads,
            embed=embed, cache=self._cache, beams=self._beams,
        )  # fmt: skip
        self._context = llama_library.open_context(self._model, params, self._path)
        if self._adapter:
            llama_library.apply_adapter(self._context, self._adapter, self._adapter_path)
        self._embeds = embed

    def _generate(self, prompt: TextPrompt, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        started = time.perf_counter()
        choice = Choice.of(prompt.sampling)
        stream = TextStream(prompt.stop)
        grammar = grammar_of(prompt.grammar, prompt.json_schema)
        tokens = self._tokens.of(prompt, self._limit, room=1)
        if self._embeds:
            self._open_context(embed=False)
        if not lib.llama_get_memory(self._context):
            raise ExpertFailedError("this model embeds text and cannot write any", reason="model")
        limit = self._limit - len(tokens)
        limit = min(limit, choice.max_tokens) if choice.max_tokens else limit
        if prompt.quote and grammar is not None:
            texts = [prompt.text[start:end] for start, end in prompt.literal]
            grammar = quoting_of(grammar, prompt.quote).grammar(texts, prompt.quote_max)
        if self._beams > 1 and grammar is not None and choice.sure:
            yield from self._search(prompt, tokens, grammar, limit, cancelled)
            return
        picker = Picker(self._context, self._vocab, choice, tokens, grammar)
        watched = Watched(picker.pick, self._context, self._vocab) if prompt.margin else None
        pick = watched.pick if watched else picker.pick
        try:
            self._prefill(tokens, cancelled)
            token = pick()
            first_ms = (time.perf_counter() - started) * 1000
            count, finish = yield from self._write(token, pick, stream, limit, cancelled)
            margin = watched.least if watched else None
            yield TextEnd(stream.text(), len(tokens), count, finish, first_ms, margin)
        finally:
            picker.close()

    def _search(
        self,
        prompt: TextPrompt,
        tokens: list[int],
        grammar: Grammar,
        limit: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[Piece]:
        """Yield what `_generate` yields, of the likeliest of a few answers."""
        started = time.perf_counter()
        stream = TextStream(prompt.stop)
        beams = Beams(self._context, self._vocab, self._beams, grammar)
        count, pending, first_ms = 0, 0, None
        try:
            self._prefill(tokens, cancelled)
            for token in beams.run(len(tokens), limit, self._tokens.ends, self._decode, cancelled):
                first_ms = first_ms or (time.perf_counter() - started) * 1000
                count += 1
                pending += 1
                if text := stream.feed(self._tokens.bytes_of(token)):
                    yield TextPiece(text, pending)
                    pending = 0
                if stream.stopped:
                    break
        finally:
            beams.close()
        if text := stream.finish():
            yield TextPiece(text, pending)
        finish = "stop" if stream.stopped else "eos" if beams.ended else "length"
        margin = beams.least if prompt.margin else None
        yield TextEnd(stream.text(), len(tokens), count, finish, first_ms, margin)

    def _write(
        self,
        token: int,
        pick: Callable[[], int],
        stream: TextStream,
        limit: int,
        cancelled: Callable[[], bool],
    ) -> Generator[TextPiece, None, tuple[int, str]]:
        """Show, decode and pick, beginning with `token`, at most `limit` tokens.

        Return how many tokens there were, and why the text ended.
        """
        one = (lib.llama_token * 1)()
        batch = lib.llama_batch_get_one(one, 1)
        count, pending = 0, 0
        while not self._tokens.ends(token):
            count += 1
            pending += 1
            if text := stream.feed(self._tokens.bytes_of(token)):
                yield TextPiece(text, pending)
                pending = 0
            if stream.stopped or count == limit:
                break
            if cancelled():
                raise CancelledError("cancelled while answering")
            one[0] = token
            self._decode(batch)
            token = pick()
        else:
            limit = 0
        if text := stream.finish():
            yield TextPiece(text, pending)
        return count, "stop" if stream.stopped else "length" if limit else "eos"

    def _embed(self, prompt: TextPrompt, cancelled: Callable[[], bool]) -> Embedding:
        tokens = self._tokens.of(prompt, self._batch, room=0)
        if not self._embeds:
            self._open_context(embed=True)
        self._forget()
        self._decode_prompt((lib.llama_token * len(tokens))(*tokens), len(tokens), cancelled)
        vector = lib.llama_get_embeddings_seq(self._context, 0)
        if not vector:
            raise ExpertFailedError("the model gives no embedding", reason="model")
        size = int(lib.llama_model_n_embd_out(self._model))
        return Embedding(tuple(vector[:size]), len(tokens))

    def _prefill(self, tokens: list[int], cancelled: Callable[[], bool]) -> None:
        """Bring the prompt into the context, batch by batch, reusing whole batches of the last.

        The same prompt again is not computed at all: its last logits were kept.
        """
        if tokens == self._whole and self._keep(len(tokens)):
            ctypes.memmove(self._logits_at(), self._logits, len(self._logits))
            return
        done = self._shared(tokens)
        if not done or not self._keep(done):
            done = 0
            self._forget()
        self._past, self._whole = tokens[:done], []
        array = (lib.llama_token * len(tokens))(*tokens)
        while done < len(tokens):
            size = min(self._batch, len(tokens) - done)
            part = ctypes.cast(ctypes.byref(array, 4 * done), ctypes.POINTER(lib.llama_token))
            self._decode_prompt(part, size, cancelled)
            done += size
            if size == self._batch:
                self._past = tokens[:done]
        if self._reusable:
            size = 4 * int(lib.llama_vocab_n_tokens(self._vocab))
            self._logits = ctypes.string_at(self._logits_at(), size)
            self._whole = tokens

    def _keep(self, count: int) -> bool:
        """Cut the context down to its first tokens; tell whether that could be done."""
        memory = lib.llama_get_memory(self._context)
        return bool(lib.llama_memory_seq_rm(memory, 0, count, -1))

    def _logits_at(self) -> Any:  # noqa: ANN401 -- ctypes
        """Return where the logits of the last token are."""
        return lib.llama_get_logits_ith(self._context, -1)

    def _shared(self, tokens: list[int]) -> int:
        """Return how many tokens, in whole batches, are in the context already.

        The last batch is always computed again, as its logits are needed.
        """
        size, done = self._batch, 0
        if not self._reusable:
            return 0
        while (
            done + size < len(tokens)
            and done + size <= len(self._past)
            and self._past[done : done + size] == tokens[done : done + size]
        ):
            done += size
        return done

    def _decode_prompt(
        self, tokens: ctypes.Array[ctypes.c_int32], size: int, cancelled: Callable[[], bool]
    ) -> None:
        """Decode a batch of the prompt; looks at `cancelled` every few milliseconds meanwhile."""
        seen = time.perf_counter()
        stopped = cancelled()

        def look(_data: object) -> bool:
            nonlocal seen, stopped
            now = time.perf_counter()
            if now - seen >= _LOOK_SECONDS:
                seen, stopped = now, cancelled()
            return stopped

        callback = lib.ggml_abort_callback(look)
        lib.llama_set_abort_callback(self._context, callback, None)
        try:
            if not stopped:
                self._decode(lib.llama_batch_get_one(tokens, size))
        except CancelledError:
            self._forget()
            raise
        finally:
            lib.llama_set_abort_callback(self._context, lib.ggml_abort_callback(), None)
        if stopped:
            raise CancelledError("cancelled while reading the prompt")

    def _decode(self, batch: ctypes.Structure) -> None:
        code = lib.llama_decode(self._context, batch)
        if code == 0:
            return
        if code == _ABORTED:
            raise CancelledError("cancelled while reading the prompt")
        self._forget()
        reason = llama_library.journal.reason()
        raise ExpertFailedError(f"llama.cpp could not decode (code {code}): {reason}", reason="run")

    def _forget(self) -> None:
        """Empty the context."""
        self._past, self._whole = [], []
        memory = lib.llama_get_memory(self._context)
        if memory:
            lib.llama_memory_clear(memory, 0)
