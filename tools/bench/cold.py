"""How long an unloaded expert takes to answer, beside a fresh Python process doing the same.

The daemon is warm and its engine hosts are ready; the expert is unloaded before every question.
The fresh process loads the same package with the same pipeline and engine, and answers once.
"""

import time
from pathlib import Path

from aiosd.domain.manifest import Task
from aiosd.domain.request import Options, Sampling
from tools.bench.direct import command, fresh
from tools.bench.figures import Figure, over, skipped
from tools.bench.rig import Rig, run_of
from tools.bench.subjects import Subject, small_gguf, small_tflite

GROUP = "cold start"
FASTER = 10.0
TFLITE_MS, GGUF_MS = 30.0, 60.0
TOKENS = 8
# So that an unload's last steps are over, and memory is given back, before the clock starts.
SETTLE_SECONDS = 0.1


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of a TFLite expert of about 50 kB and a GGUF expert of about 0.7 MB."""
    figures: list[Figure] = []
    rounds = 7 if quick else 15
    for kind, find, bound in (("TFLite", small_tflite, TFLITE_MS), ("GGUF", small_gguf, GGUF_MS)):
        subject = find(folder / "made")
        if subject is None:
            figures.append(skipped(GROUP, kind, f"no {kind} expert is bundled or at hand"))
        else:
            figures += _one(folder / subject.name, subject, bound, rounds)
    return figures


def _one(folder: Path, subject: Subject, bound: float, rounds: int) -> list[Figure]:
    streams = subject.manifest.engine.name == "llama"
    # What must be whole to be an answer (JSON) is not cut short.
    tokens = TOKENS if subject.manifest.task is Task.TEXT_GENERATE else 0
    sampling = Sampling(max_tokens=tokens or None)
    run = run_of(subject, Options(stream=streams, sampling=sampling))
    until, loads, processes = [], [], []
    with Rig(folder, [subject]) as rig:
        rig.hosts_ready()
        alone = command("once", subject, folder, tokens)
        fresh(alone)
        for _ in range(rounds):
            rig.unload(subject.name)
            time.sleep(SETTLE_SECONDS)
            first, outcome, _ = rig.first(run)
            if not outcome.cold:
                raise RuntimeError(f"{subject.name} was loaded already")
            until.append(first * 1e3)
            loads.append(outcome.usage.load_ms)
            processes.append(fresh(alone) * 1e3)
    what = "first token" if streams else "answer"
    return [
        over(GROUP, f"{subject}, {what}", "ms", until, at_most=bound),
        over(GROUP, f"{subject}, of it loading", "ms", loads),
        over(GROUP, f"{subject}, fresh process", "ms", processes),
        over(
            GROUP,
            f"{subject}, fresh / daemon",
            "x",
            [slow / fast for slow, fast in zip(processes, until, strict=True)],
            at_least=FASTER,
        ),
    ]
