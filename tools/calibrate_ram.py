"""Compare `aiosd.models.need` with the private memory of a forked worker, model by model.

Run: python tools/calibrate_ram.py MODEL[:CONTEXT[:BATCH]] ...   (.gguf or .tflite)

Each model is loaded and run once in a child forked from a parent that has imported the engine, as
an engine host does. Measured is `Private_Dirty` of /proc/self/smaps_rollup after the first answer;
a freshly written file must be on the disk first (`sync`), or its own pages count as dirty.
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from aiosd.domain.errors import InvalidError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextPrompt
from aiosd.domain.request import Sampling
from aiosd.models.gguf import read_gguf
from aiosd.models.need import RamNeed, gguf_need, tflite_need
from aiosd.models.tflite import read_tflite


def private_bytes() -> int:
    """Return the private, written memory of this process."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the kernel has no smaps_rollup")


def measure(run: Callable[[], object]) -> int:
    """Return the private bytes of a forked child that holds what `run` returns; 0 if it failed."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        held = run()
        os.write(writer, json.dumps(private_bytes()).encode() if held else b"")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.wait()
    return int(json.loads(text or "0"))


def llama_run(path: Path, need: EngineNeed) -> Callable[[], object]:
    """Return what loads a GGUF model and answers a long prompt."""
    from aiosd.engines.llama import LlamaEngine  # noqa: PLC0415 -- before the fork, if needed

    def run() -> object:
        engine = LlamaEngine()
        engine.load({"model": path}, need, threads=1)
        text = "e " * 600
        while True:
            prompt = TextPrompt(text=text, sampling=Sampling(max_tokens=8, seed=1))
            try:
                list(engine.run(prompt, cancelled=lambda: False))
            except InvalidError:
                text = text[: len(text) * 7 // 10]
            else:
                return engine

    return run


def tflite_run(path: Path) -> Callable[[], object]:
    """Return what loads a TFLite model and invokes it once."""
    import numpy as np  # noqa: PLC0415 -- before the fork, if needed
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    def run() -> object:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        interpreter.invoke()
        return interpreter

    return run


def rows(arguments: list[str]) -> Iterator[tuple[str, RamNeed, int]]:
    """Yield a name, the estimate and the measurement for each model."""
    for argument in arguments:
        name, *numbers = argument.split(":")
        path = Path(name)
        if path.suffix == ".tflite":
            run, need = tflite_run(path), tflite_need(read_tflite(path))
        else:
            values = dict(zip(("context", "batch"), map(int, numbers), strict=False))
            engine = EngineNeed(name="llama", **values)
            run, need = llama_run(path, engine), gguf_need(read_gguf(path), engine)
        gc.collect()
        gc.freeze()
        yield ":".join([path.name, *numbers]), need, measure(run)


def main() -> None:
    """Print one line per model."""
    print(f"{'model':48}{'estimate':>12}{'measured':>12}{'over':>12}{'':>8}")
    for name, need, measured in rows(sys.argv[1:]):
        over = need.private_bytes - measured
        share = f"{over / measured:+.1%}" if measured else "failed"
        print(f"{name[-46:]:48}{need.private_bytes:12,}{measured:12,}{over:12,}{share:>8}")


if __name__ == "__main__":
    main()
