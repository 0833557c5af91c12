"""`python -m tools.bench.parking FILE.gguf`: what parking a text expert gives, and its price.

As in the daemon: forked from a process that has the engine imported, so that what is counted are
the pages that the worker alone has. Each model is loaded, asked three times, parked without its
pages and with them, and resumed from both; after each the same answer is asked for. With `--cold`
the page cache is emptied of the file before each load and each resume, as on a board whose RAM is
needed for other things (what the disk beneath keeps is not emptied).
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextEnd, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.engines.llama import LlamaEngine
from aiosd.sensors.memory import read_process

PROMPT = TextPrompt(
    text="the quick brown fox jumps over the lazy dog " * 4,
    sampling=Sampling(max_tokens=8, temperature=0.0),
)
ROUNDS = 5
MB = 1e6


def main() -> int:
    """Measure each model in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.parking", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="FILE.gguf")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--cold", action="store_true", help="empty the page cache of the file")
    options = parser.parse_args()
    print(
        f"{'model':<20}{'file':>7}{'load':>9} | {'held':>7}{'mapped':>7} | "
        f"{'parked':>7}{'mapped':>7}{'resume':>9} | {'bare':>7}{'context':>9}{'pages':>9}  MB, ms; "
        f"medians of {ROUNDS}"
    )
    for model in options.models:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            need = EngineNeed(name="llama", context=options.context, batch=options.batch)
            _measure(model, need, cold=options.cold)
            return 0
        os.waitpid(child, 0)
    return 0


def _measure(model: Path, need: EngineNeed, *, cold: bool) -> None:
    """Print the row of one model."""
    rows = [_round(model, need, cold=cold) for _ in range(ROUNDS)]
    made = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(
        f"{model.stem[:19]:<20}{model.stat().st_size / MB:>7.1f}{made[0]:>9.1f} | "
        f"{made[1]:>7.1f}{made[2]:>7.1f} | {made[3]:>7.1f}{made[4]:>7.1f}{made[5]:>9.1f} | "
        f"{made[6]:>7.1f}{made[7]:>9.1f}{made[8]:>9.1f}"
    )


def _round(model: Path, need: EngineNeed, *, cold: bool) -> list[float]:
    """Load, ask, park and resume once; return milliseconds and megabytes in the row's order."""
    engine = LlamaEngine()
    if cold:
        _forget(model)
    begun = time.perf_counter()
    engine.load({"model": model}, need, threads=1)
    load = time.perf_counter() - begun
    answers = [_ask(engine) for _ in range(3)]
    held, mapped = _memory()
    engine.park(pages=False)
    parked, still = _memory()
    begun = time.perf_counter()
    engine.resume()
    resume = time.perf_counter() - begun
    answers.append(_ask(engine))
    engine.park(pages=True)
    bare, _ = _memory()
    if cold:
        _forget(model)
    begun = time.perf_counter()
    pages = engine.resume() or 0.0
    context = time.perf_counter() - begun - pages
    answers.append(_ask(engine))
    engine.close()
    if len(set(answers)) > 1:
        raise RuntimeError(f"{model} answers otherwise after parking: {answers}")
    return [load * 1e3, held, mapped, parked, still, resume * 1e3, bare, context * 1e3, pages * 1e3]


def _ask(engine: LlamaEngine) -> str:
    """Return what the model writes."""
    end = list(engine.run(PROMPT, cancelled=lambda: False))[-1]
    return end.text if isinstance(end, TextEnd) else ""


def _memory() -> tuple[float, float]:
    """Return the MB that this process alone holds, and the mapped part of them."""
    memory = read_process(os.getpid())
    if memory is None:
        raise RuntimeError("this process cannot read its own memory")
    return memory.own_bytes / MB, memory.mapped_bytes / MB


def _forget(model: Path) -> None:
    """Empty the page cache of a file that nobody has mapped."""
    with model.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    raise SystemExit(main())
