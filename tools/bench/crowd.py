"""Two and more text experts writing at once: what one thread budget over all workers is worth.

`python -m tools.bench.crowd`: real daemon, real workers, llama models with random weights. Two
experts that could use all cores write at the same time, once within the budget and once with a
budget so large that every worker uses all cores. Then a crowd of experts is asked at once, and an
interactive request comes while background work is written.
"""

import argparse
import contextlib
import hashlib
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from aiosd.client import Client
from tools.demo.private_daemon import PrivateDaemon
from tools.gguf.random_llama import Shape, llama_model

SHAPE = Shape(
    embedding=512,
    layers=8,
    heads=8,
    kv_heads=4,
    feed_forward=1408,
    vocabulary=4000,
    context=2048,
    kind="Q8_0",
)
PATIENCE = 300.0
_MANIFEST = """
name = "{name}"
release = 1
summary = "Random weights, to measure with"
licence = "CC0-1.0"
task = "text.generate"
[engine]
name = "llama"
context = 1024
batch = 128
[input]
type = "text"
[[files]]
path = "model.gguf"
role = "model"
size = {size}
sha256 = "{digest}"
[prompt]
template = "{{text}}"
[prompt.sampling]
temperature = 1.0
[needs]
threads = {threads}
"""


@dataclass(frozen=True)
class Written:
    """What one request came to: when it ended after all had begun, and its own speed."""

    seconds: float
    tokens: int
    run_seconds: float
    cpu_seconds: float

    @property
    def speed(self) -> float:
        """Tokens in each second of its own run."""
        return self.tokens / self.run_seconds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.crowd", description=__doc__)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crowd", type=int, default=6, help="experts that are asked at once")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} before; {options.tokens} tokens a request")
    with (
        tempfile.TemporaryDirectory(prefix="aiosd-crowd-") as place,
        contextlib.ExitStack() as stack,
    ):
        packages = write_packages(Path(place), options.crowd)
        # A budget of 64 threads lets every worker use all the cores that it can, whoever else runs.
        daemons = {}
        for what, threads in (("one budget", cores), ("no budget", 64)):
            settings = f'[engines]\nthreads = {threads}\n[ram]\ncap = "1 GiB"\n'
            daemons[what] = stack.enter_context(PrivateDaemon(packages, settings))
        pair(daemons, packages[:2], options.tokens, options.rounds)
        crowd(daemons["one budget"], packages, options.tokens)
        beside(daemons["one budget"], packages, options.tokens)
    return 0


def pair(daemons: dict[str, PrivateDaemon], packages: list[Path], tokens: int, rounds: int) -> None:
    """Have one expert write, then two at once; rounds alternate, so that noise hits both."""
    alone: dict[str, list[Written]] = {what: [] for what in daemons}
    both: dict[str, list[list[Written]]] = {what: [] for what in daemons}
    for _ in range(rounds):
        for what, daemon in daemons.items():
            for each in packages:
                ask(daemon, each.name, 8)
            alone[what].append(ask(daemon, packages[0].name, tokens))
            asked = [(each.name, "normal") for each in packages]
            both[what].append(together(daemon, asked, tokens))
    for what in daemons:
        single = median(each.speed for each in alone[what])
        speeds = sorted(
            sum(each.tokens for each in two) / max(each.seconds for each in two)
            for two in both[what]
        )
        written = [each for two in both[what] for each in two]
        cpu = sum(each.tokens for each in written) / sum(each.cpu_seconds for each in written)
        print(
            f"{what}: one alone {single:.0f} tokens/s; two at once {median(speeds):.0f} tokens/s "
            f"together ({speeds[0]:.0f} to {speeds[-1]:.0f}), {cpu:.0f} tokens a CPU second",
            flush=True,
        )


def crowd(daemon: PrivateDaemon, packages: list[Path], tokens: int) -> None:
    """Ask all experts at once."""
    written = together(daemon, [(each.name, "normal") for each in packages], tokens)
    last = max(each.seconds for each in written)
    mean = sum(each.seconds for each in written) / len(written)
    print(
        f"{len(written)} experts asked at once: {len(written) * tokens / last:.0f} tokens/s "
        f"together, answered after {mean:.1f} s on average, the last after {last:.1f} s"
    )


def beside(daemon: PrivateDaemon, packages: list[Path], tokens: int) -> None:
    """Have an interactive request come while a background one is written, and without it."""
    name = packages[1].name
    alone = sorted(ask(daemon, name, tokens // 4, "interactive").seconds for _ in range(5))[2]
    sweeper = threading.Thread(
        target=ask, args=(daemon, packages[0].name, tokens * 4, "background")
    )
    sweeper.start()
    time.sleep(0.3)
    with_it = sorted(ask(daemon, name, tokens // 4, "interactive").seconds for _ in range(5))[2]
    sweeper.join()
    print(
        f"interactive, {tokens // 4} tokens: {alone:.2f} s alone, {with_it:.2f} s beside "
        "background work (medians of 5)"
    )


def together(daemon: PrivateDaemon, asked: list[tuple[str, str]], tokens: int) -> list[Written]:
    """Ask several experts at the same moment; return what each came to."""
    written: list[Written] = []
    gate = threading.Barrier(len(asked))

    def one(name: str, priority: str) -> None:
        with daemon.client() as client:
            gate.wait()
            written.append(_ask(client, name, tokens, priority))

    apps = [threading.Thread(target=one, args=each) for each in asked]
    for app in apps:
        app.start()
    for app in apps:
        app.join()
    return written


def ask(daemon: PrivateDaemon, name: str, tokens: int, priority: str = "normal") -> Written:
    """Ask one expert."""
    with daemon.client() as client:
        return _ask(client, name, tokens, priority)


def _ask(client: Client, name: str, tokens: int, priority: str) -> Written:
    begun = time.perf_counter()
    answer = client.run(
        text="e e e",
        expert=name,
        max_tokens=tokens,
        priority=priority,
        seed=1,
        timeout_seconds=PATIENCE,
    )
    seconds = time.perf_counter() - begun
    usage = answer.usage
    return Written(seconds, usage.tokens_out or 0, usage.run_ms / 1e3, (usage.cpu_ms or 0.0) / 1e3)


def write_packages(folder: Path, count: int) -> list[Path]:
    """Write packages of one model under several names."""
    content = llama_model(SHAPE)
    packages = []
    for number in range(count):
        package = folder / f"writer-{number}"
        package.mkdir()
        (package / "model.gguf").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        text = _MANIFEST.format(
            name=package.name, size=len(content), digest=digest, threads=os.cpu_count() or 1
        )
        (package / "expert.toml").write_text(text, encoding="utf-8")
        packages.append(package)
    return packages


if __name__ == "__main__":
    raise SystemExit(main())
