"""`python -m tools.soak`: a real daemon under a RAM cap, hostile requests, and a scale beside it.

The experts are GGUF models with random weights; the sum of all workers and hosts is weighed 20
times a second and held against the cap. The exit status is 0 if the cap held and every request
ended.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from aiosd.domain.sizes import parse_size
from aiosd.protocol.messages import Status
from tools.bench.machine import describe, sentence
from tools.bench.rig import Rig
from tools.bench.subjects import bundled
from tools.gguf.package import write_expert
from tools.soak.experts import BUNDLED, EXPERTS
from tools.soak.scale import Scale, oom_kills
from tools.soak.storm import Storm


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--cap", default="256 MiB", help="the RAM cap (256 MiB)")
    parser.add_argument("--seed", type=int, default=1, help="of the requests (1)")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--log", metavar="FILE", help="keep the daemon's log there")
    options = parser.parse_args()
    facts = describe()
    print(sentence(facts))
    with tempfile.TemporaryDirectory(prefix="aiosd-soak-") as folder:
        found = soak(Path(folder), options)
    for name, value in found.items():
        print(f"{name:34}{value}")
    if options.json:
        text = json.dumps({"machine": facts, **found}, indent=2)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0 if found["verdict"] == "pass" else 1


def soak(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run the storm and return what was seen."""
    cap = parse_size(options.cap)
    subjects = [write_expert(folder / "made", each) for each in EXPERTS]
    subjects += [each for each in bundled() if each.name in BUNDLED]
    contexts = {each.name: each.manifest.engine.context for each in subjects}
    kills = oom_kills()
    with Rig(folder / "rig", subjects, cap=options.cap) as rig:
        rig.hosts_ready()
        scale = Scale(rig.pid, cap)
        storm = Storm(rig.folder / "api.sock", contexts, options.seed)
        begun = shown = time.monotonic()
        scale.start()
        for _ in storm.blow(begun + 60 * options.minutes):
            now = time.monotonic()
            if now - shown >= (0.5 if sys.stderr.isatty() else 30):
                shown = now
                _progress(now - begun, scale, storm)
        scale.stop()
        status = rig.look(Status())
        log = (rig.folder / "log").read_text(encoding="utf-8", errors="replace")
    if options.log:
        Path(options.log).write_text(log, encoding="utf-8")
    requests = status["requests"]
    tally = storm.tally
    untyped = tally.ends["answered twice"] + tally.ends["a reply to no request"]
    killed = log.count("by the kernel")
    held = scale.over == 0 and killed == 0 and tally.lost == 0 and untyped == 0
    return {
        "verdict": "pass" if held else "FAIL",
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "cap (MB)": round(cap / 1e6, 1),
        "samples": scale.samples,
        "samples a second": round(scale.samples / (time.monotonic() - begun), 1),
        "samples over the cap": scale.over,
        "samples perhaps over": scale.doubtful,
        "largest sum of PSS (MB)": round(scale.most_bytes / 1e6, 1),
        "workers killed by the kernel": killed,
        "OOM kills on the whole machine": oom_kills() - kills,
        "requests": tally.sent,
        **{f"  {code}": count for code, count in sorted(tally.ends.items())},
        "  of clients that died": tally.abandoned,
        "  never ended": tally.lost,
        "loads": requests["cold_loads"] if isinstance(requests, dict) else None,
        "evictions": status["evictions"],
        "parkings": status["parkings"],
        "experts": ", ".join(f"{each}" for each in subjects),
    }


def _progress(seconds: float, scale: Scale, storm: Storm) -> None:
    ends = " ".join(f"{code} {count}" for code, count in sorted(storm.tally.ends.items()))
    line = (
        f"{seconds:5.0f} s  {scale.samples} samples, {scale.over} over, "
        f"most {scale.most_bytes / 1e6:.0f} MB; {ends}"
    )
    end = "\r" if sys.stderr.isatty() else "\n"
    print(line, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
