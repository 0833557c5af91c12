"""One expert in this process: its package, its pipeline and its engine, answering one by one."""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from aiosd.domain.errors import AiosdError, ExpertFailedError, PackageError
from aiosd.domain.manifest import Manifest
from aiosd.domain.prepared import Piece, TextEnd, TextPiece
from aiosd.engines.engine import Engine, Parking, open_engine
from aiosd.pipelines.pipeline import Pipeline
from aiosd.protocol.pipe import Done, LoadExpert, RunRequest
from aiosd.store.digests import Digests
from aiosd.worker.versions import within

COALESCE_SECONDS = 0.008


class Expert:
    """A loaded expert."""

    def __init__(self, order: LoadExpert) -> None:
        """Verify, compile and load.

        Raises:
            PackageError: a file is not what the manifest says, or cannot be run here.
        """
        self.manifest: Manifest = order.manifest
        folder = Path(order.folder)
        digests = Digests(None)
        for file in order.manifest.files:
            if file.path in order.verify:
                digests.verify_file(folder / file.path, file)
        self.engine: Engine = open_engine(order.manifest.engine.name)
        _check_version(self.engine.version(), order.manifest)
        self.pipeline = Pipeline(order.manifest, folder)
        files = {role: folder / each.path for role, each in order.manifest.engine_files.items()}
        if order.base is not None:
            there = Path(order.base.folder)
            files["model"] = there / order.base.files[0].path
            for file in order.base.files:
                if file.path in order.base.verify:
                    digests.verify_file(there / file.path, file)
        self.engine.load(files, order.manifest.engine, threads=order.threads)

    def answer(
        self,
        request: RunRequest,
        payload: memoryview | bytes | None,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Done:
        """Answer one request; streamed text goes to `emit` as it comes.

        Raises:
            AiosdError: the request is wrong, was cancelled, or the model failed on it.
        """
        start, spent = time.perf_counter(), time.process_time()
        value = request.input
        if payload is not None:
            value = msgspec.structs.replace(value, data=payload, frame=None)
        prepared = self.pipeline.prepare(value, request.sampling, request.top_k)
        engine_start = time.perf_counter()
        last = self._drive(
            _Stream(emit) if request.stream else None,
            self.engine.run(prepared, cancelled=cancelled),
        )
        engine_end = time.perf_counter()
        output = self.pipeline.finish(prepared, last, request.top_k)
        end = time.perf_counter()
        counts = last if isinstance(last, TextEnd) else None
        return Done(
            id=request.id,
            output=output,
            run_ms=(end - start) * 1e3,
            engine_ms=(engine_end - engine_start) * 1e3,
            cpu_ms=(time.process_time() - spent) * 1e3,
            first_token_ms=counts.first_token_ms if counts else None,
            tokens_in=counts.tokens_in if counts else getattr(last, "tokens_in", None),
            tokens_out=counts.tokens_out if counts else None,
        )

    @property
    def parks(self) -> bool:
        """Whether its engine can give memory back and stay."""
        return isinstance(self.engine, Parking)

    def park(self, *, pages: bool) -> None:
        """Give back what only an answer needs, and with `pages` the model's mapped pages."""
        if isinstance(self.engine, Parking):
            self.engine.park(pages=pages)

    def resume(self) -> tuple[float, float | None]:
        """Take it back; return the seconds of the context, and of the pages if they were gone.

        Raises:
            PackageError: there is no memory for it.
        """
        start = time.perf_counter()
        pages = self.engine.resume() if isinstance(self.engine, Parking) else None
        return time.perf_counter() - start - (pages or 0.0), pages

    def _drive(self, stream: "_Stream | None", pieces: Iterator[Piece]) -> Piece:
        """Take the engine's pieces to the last one."""
        last: Piece | None = None
        for piece in pieces:
            if stream is not None and isinstance(piece, TextPiece):
                stream.add(piece.text)
            last = piece
        if stream is not None:
            stream.flush()
        if last is None:
            raise ExpertFailedError("the engine gave no answer", reason="no answer")
        return last


class _Stream:
    """Joins pieces of text that come faster than a reader can see, so that tokens stay cheap."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._held: list[str] = []
        self._sent = 0.0

    def add(self, text: str) -> None:
        """Send `text`, or hold it back for a few milliseconds."""
        self._held.append(text)
        now = time.perf_counter()
        if now - self._sent >= COALESCE_SECONDS:
            self._sent = now
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        text = "".join(self._held)
        self._held.clear()
        if text:
            self._emit(text)


def map_payload(handle: int, size: int) -> memoryview:
    """Return the bytes behind a memory descriptor, which is closed; nothing is copied."""
    try:
        return memoryview(mmap.mmap(handle, size, prot=mmap.PROT_READ))
    finally:
        os.close(handle)


def failure(error: AiosdError | PackageError) -> AiosdError:
    """Return the error that goes to the client."""
    if isinstance(error, PackageError):
        return ExpertFailedError(error.message, reason=error.message)
    return error


def _check_version(version: str, manifest: Manifest) -> None:
    """Refuse an engine outside the range that the package states."""
    if not within(version.rpartition(" ")[2], manifest.engine.versions):
        raise PackageError(
            f"{manifest.name} needs {manifest.engine.name} {manifest.engine.versions}, "
            f"this is {version}"
        )
