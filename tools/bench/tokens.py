"""Tokens per second of one stream through the daemon, beside llama-cpp-python called directly.

Both answer the same prompt greedily with one thread and the same context and batch; the direct
side uses the package's own high-level class and streams too. Rounds alternate.
"""

from pathlib import Path

from aiosd.domain.manifest import Task
from aiosd.domain.request import Options, Sampling
from tools.bench.direct import Direct
from tools.bench.figures import Figure, over, skipped
from tools.bench.rig import Rig, run_of
from tools.bench.subjects import small_gguf

GROUP = "tokens"
SHARE = 0.97
TOKENS = 200


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return tokens per second of both, and the share that the daemon reaches."""
    subject = small_gguf(folder / "made")
    if subject is None or subject.manifest.task is not Task.TEXT_GENERATE:
        # An expert bound by a grammar is not what the plain class does with the same settings.
        return [skipped(GROUP, "one stream", "no GGUF expert that writes freely is at hand")]
    options = Options(stream=True, sampling=Sampling(max_tokens=TOKENS, temperature=0.0))
    run = run_of(subject, options)
    daemon: list[float] = []
    alone: list[float] = []
    with (
        Rig(folder / subject.name, [subject]) as rig,
        Direct("tokens", subject, folder, TOKENS) as direct,
    ):
        rig.hosts_ready()
        rig.ask(run)
        count = 0
        for _ in range(8 if quick else 30):
            _, outcome, seconds = rig.first(run)
            count = outcome.usage.tokens_out or 0
            daemon.append(count / seconds)
            alone += direct.rounds(1)
    shares = [mine / other for mine, other in zip(daemon, alone, strict=True)]
    note = f"{count} tokens"
    return [
        over(GROUP, f"{subject}, daemon", "tokens/s", daemon, note=note),
        over(GROUP, f"{subject}, direct", "tokens/s", alone),
        over(GROUP, f"{subject}, daemon / direct", "x", shares, at_least=SHARE),
    ]
