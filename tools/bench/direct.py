"""An expert in a process of its own, without the daemon: what the daemon is compared with.

`python -m tools.bench.direct once FOLDER REQUEST` answers once, as a fresh process must.
`… serve FOLDER REQUEST` reads a number of answers per line and prints how long each took.
`… tokens FOLDER REQUEST` does so with llama-cpp-python's own high-level class.
"""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from aiosd.domain.inputs import Input
from aiosd.domain.manifest import Manifest
from aiosd.domain.request import Sampling
from tools.bench.subjects import Subject


class Order(msgspec.Struct, frozen=True):
    """What the process is to do."""

    folder: str
    manifest: Manifest
    question: Input
    max_tokens: int | None = None


class Direct:
    """A process that answers on command, line by line."""

    def __init__(self, kind: str, subject: Subject, into: Path, max_tokens: int = 0) -> None:
        """Start it and wait until it has loaded the model."""
        self._process = subprocess.Popen(
            command(kind, subject, into, max_tokens),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.rounds(1)

    def rounds(self, count: int) -> list[float]:
        """Have it answer `count` times; return what it prints."""
        pipe, answer = self._process.stdin, self._process.stdout
        if pipe is None or answer is None:
            raise RuntimeError("started without pipes")
        pipe.write(f"{count}\n")
        pipe.flush()
        return msgspec.json.decode(answer.readline(), type=list[float])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def command(kind: str, subject: Subject, into: Path, max_tokens: int = 0) -> list[str]:
    """Return the command line of such a process."""
    order = Order(str(subject.folder), subject.manifest, subject.question, max_tokens or None)
    path = into / f"{subject.name}.order"
    path.write_bytes(msgspec.msgpack.encode(order))
    return [sys.executable, "-m", "tools.bench.direct", kind, str(path)]


def fresh(arguments: list[str]) -> float:
    """Run a process that answers once; return the seconds from exec to its first word."""
    begun = time.perf_counter()
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the fresh process gave no answer")
        took = time.perf_counter() - begun
        process.kill()
    return took


def main(kind: str, path: Path) -> None:
    """Be such a process."""
    order = msgspec.msgpack.decode(path.read_bytes(), type=Order)
    if kind == "tokens":
        _tokens(order)
    else:
        _answer(order, once=kind == "once")


def _answer(order: Order, *, once: bool) -> None:
    """Answer with the worker's own pipeline and engine."""
    from aiosd.protocol.pipe import LoadExpert, RunRequest  # noqa: PLC0415
    from aiosd.worker.expert import Expert  # noqa: PLC0415

    load = LoadExpert(manifest=order.manifest, folder=order.folder, threads=1, verify=[])
    expert = Expert(load)
    request = RunRequest(
        id=1,
        input=order.question,
        sampling=Sampling(max_tokens=order.max_tokens),
        top_k=None,
        stream=True,
    )

    def emit(_text: str) -> None:
        if once:
            print("first", flush=True)

    def answer() -> float:
        begun = time.perf_counter()
        expert.answer(request, None, emit, lambda: False)
        return time.perf_counter() - begun

    if once:
        answer()
        print("answered", flush=True)
        return
    for line in sys.stdin:
        print(msgspec.json.encode([answer() for _ in range(int(line))]).decode(), flush=True)


def _tokens(order: Order) -> None:
    """Print tokens per second of llama-cpp-python's own class, streaming, greedily."""
    from llama_cpp import Llama  # noqa: PLC0415

    manifest = order.manifest
    if manifest.model is None or manifest.prompt is None:
        raise ValueError("no text model")
    llama = Llama(
        str(Path(order.folder) / manifest.model.path),
        n_ctx=manifest.engine.context,
        n_batch=manifest.engine.batch,
        n_threads=1,
        n_threads_batch=1,
        verbose=False,
    )
    prompt = manifest.prompt.template.replace("{text}", getattr(order.question, "text", ""))

    def answer() -> float:
        begun = time.perf_counter()
        count = 0
        for _ in llama.create_completion(
            prompt, max_tokens=order.max_tokens, temperature=0.0, stream=True
        ):
            count += 1
        return (count - 1) / (time.perf_counter() - begun)

    for line in sys.stdin:
        print(msgspec.json.encode([answer() for _ in range(int(line))]).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
