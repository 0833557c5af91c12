"""Mutated manifests and models, for as long as one likes: each is read or refused, never a crash.

`python -m tools.fuzz [TARGET …] --seconds S [--seed N]`. An input that raises anything but the
typed error, or takes longer than `--slowest` seconds, is written to a file and ends the run with
status 1.
"""

import argparse
import base64
import json
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.domain.manifest import PackageFile
from aiosd.models.check import check_file
from aiosd.models.chunks import index_file
from aiosd.models.gguf import facts_of
from aiosd.models.gguf_parts import read_model
from aiosd.protocol.canonical import CanonicalError, encode
from aiosd.protocol.release_json import decode_release, package_toml
from tools.expert.parts import cut
from tools.gguf.random_llama import Shape, llama_model, lora_adapter

ROOT = Path(__file__).resolve().parents[2]
WILD = [0, 1, 7, 31, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
TINY = Shape(embedding=32, layers=1, heads=2, kv_heads=1, feed_forward=32)
# Deep in the weights nothing is parsed; most changes go where something is.
PARSED = 16_384


@dataclass
class Target:
    """One reader, inputs to begin from, and what was found so far."""

    read: Callable[[bytes, Path], None]
    seeds: list[bytes]
    change: Callable[[bytes, random.Random], bytes]
    taken: int = 0
    refused: int = 0
    slowest: float = 0.0
    kept: list[bytes] = field(default_factory=list)

    def survives(self, data: bytes, place: Path) -> str:
        """Read an input and count it; return what went wrong: nothing if taken or refused."""
        start = time.perf_counter()
        try:
            self.read(data, place)
            self.taken += 1
        except PackageError:
            self.refused += 1
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is what is looked for
            return f"{type(error).__name__}: {error}"
        taken = time.perf_counter() - start
        if taken > self.slowest:
            self.slowest = taken
            self.kept = [data]
        return ""

    @property
    def inputs(self) -> int:
        """How many inputs were read or refused."""
        return self.taken + self.refused


def main() -> int:
    """Run, print, and return 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="manifest gguf parts adapter tflite"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slowest", type=float, default=5.0, help="seconds one input may take (5)")
    options = parser.parse_args()
    targets = make_targets()
    unknown = sorted(set(options.targets) - set(targets))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are: {', '.join(targets)}")
    for name in options.targets or targets:
        target = targets[name]
        start = time.monotonic()
        with folder() as place:
            found = drive(target, place, random.Random(options.seed), start + options.seconds)
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:9} {target.inputs:>10,} inputs in {seconds:.0f} s "
            f"({target.inputs / seconds:,.0f}/s), {target.taken:,} taken, "
            f"{target.refused:,} refused, slowest {target.slowest * 1e3:.0f} ms, "
            f"peak {peak:.0f} MiB",
            flush=True,
        )
        if found is not None or target.slowest > options.slowest:
            kept = Path(f"fuzz-{name}.bin").absolute()
            kept.write_bytes(found if found is not None else target.kept[-1])
            print(f"FOUND: {kept}")
            return 1
    return 0


def drive(target: Target, place: Path, chance: random.Random, until: float) -> bytes | None:
    """Read mutations until the time is up; return one that raised what it should not."""
    while time.monotonic() < until:
        data = target.change(chance.choice(target.seeds), chance)
        wrong = target.survives(data, place)
        if wrong:
            print(wrong, file=sys.stderr)
            return data
    return None


def mutate(seed: bytes, chance: random.Random) -> bytes:
    """Return the seed with a few changes."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        reach = min(len(data), PARSED) if chance.random() < 0.9 else len(data)
        if reach < 16:
            return bytes(data)
        at = chance.randrange(reach - 8)
        match chance.randrange(6):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                struct.pack_into("<Q", data, at, chance.choice(WILD))
            case 2:
                struct.pack_into("<I", data, at, chance.choice(WILD) & 0xFFFFFFFF)
            case 3:
                data[at] ^= 1 << chance.randrange(8)
            case 4:
                length = chance.randrange(64)
                del data[at : at + length]
            case _:
                other = chance.randrange(reach - 8)
                data[at:at] = data[other : other + chance.randrange(64)]
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.05 else data)


def mutate_tree(seed: bytes, chance: random.Random) -> bytes:
    """Return canonical JSON with a few values changed; now and then bytes that are no JSON."""
    if chance.random() < 0.2:
        return mutate(seed, chance)
    tree = json.loads(seed)
    for _ in range(chance.randint(1, 4)):
        place: object = tree
        while isinstance(place, (dict, list)) and place:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            below = place[key]
            if not isinstance(below, (dict, list)) or not below or chance.random() < 0.2:
                change_value(place, key, chance)
                break
            place = below
    try:
        return encode(tree)
    except CanonicalError:
        return seed[:-1]


def change_value(
    place: dict[str, object] | list[object], key: object, chance: random.Random
) -> None:
    """Put something else where a value was, move it, or take it away."""
    present = place[key]  # type: ignore[index, call-overload]
    fresh: list[object] = [
        *(each for each in WILD if each < 2**53),
        -1,
        0.5,
        1e300,
        "",
        "../x",
        "é",
    ]
    fresh += ["A" * 300, None, True, [], {}, [present] * 70, {"x": present}]
    if isinstance(present, str) and present:
        at = chance.randrange(len(present))
        fresh += [present[:at], present[at:] + "\x00", present.upper()] * 3
    match chance.randrange(6):
        case 0 if isinstance(place, dict):
            del place[key]  # type: ignore[arg-type]
        case 1 if isinstance(place, dict):
            place[f"{key}2"] = present
        case 2 if isinstance(place, list):
            place.append(present)
        case _:
            place[key] = chance.choice(fresh)  # type: ignore[index, call-overload]


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder in memory where there is one."""
    memory = Path("/dev/shm")  # noqa: S108 -- a name that nobody can guess is made below it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def make_targets() -> dict[str, Target]:
    """Return all targets."""
    models = [path.read_bytes() for path in sorted((ROOT / "experts").glob("*/*.tflite"))]
    return {
        "manifest": Target(
            _read_manifest, [_manifest(0), _manifest(64), _manifest(500)], mutate_tree
        ),
        "gguf": Target(_reader("llama", "model"), [llama_model(TINY)], mutate),
        "parts": Target(_reader_of_parts(), _parts(), mutate),
        "adapter": Target(_reader("llama", "adapter"), [lora_adapter(TINY, 2)], mutate),
        "tflite": Target(
            _reader("litert", "model"), [each for each in models if len(each) < 10**5], mutate
        ),
    }


def _read_manifest(data: bytes, place: Path) -> None:
    del place
    decode_release(data)
    package_toml(data)


def _reader(engine: str, role: str) -> Callable[[bytes, Path], None]:
    file = PackageFile(path="file", size=0, sha256="0" * 64, role=role)

    def read(data: bytes, place: Path) -> None:
        path = place / "file"
        path.write_bytes(data)
        if not data[-1] % 16:  # it reads all of a file, and its walk is the same as the check's
            index_file(path)
        check_file(file, path, engine)

    return read


def _parts() -> list[bytes]:
    """Return the parts of a tiny model: its settings, and its tensors."""
    with folder() as place:
        (place / "m.gguf").write_bytes(llama_model(TINY))
        return [path.read_bytes() for path in cut(place / "m.gguf", place)]


def _reader_of_parts() -> Callable[[bytes, Path], None]:
    parts = _parts()

    def read(data: bytes, place: Path) -> None:
        """Read a model that has `data` in the place of one of its parts."""
        which = data[-1] % len(parts)
        paths = [place / f"part-{each}" for each in range(len(parts))]
        for each, path in enumerate(paths):
            path.write_bytes(data if each == which else parts[each])
        facts_of(read_model(paths))

    return read


def _manifest(count: int) -> bytes:
    """Return a manifest with an index of so many chunks."""
    chunks = {
        "size": 1024,
        "spans": [1024] * count,
        "hashes": base64.b64encode(bytes(16 * count)).decode(),
    }
    package = {
        "name": "one",
        "release": 1,
        "summary": "A package",
        "licence": "MIT",
        "task": "text.classify",
        "engine": {"name": "litert", "context": 512},
        "input": {"type": "text"},
        "pre": [{"step": "text.normalize", "lower": True}],
        "self_test": {"cases": [{"text": "a", "expect": {"label": "x", "score": 0.5}}]},
    }
    file = {"path": "m.tflite", "size": 1024 * count, "sha256": "0" * 64, "role": "model"}
    tree = {
        "format": 1,
        "name": "one",
        "release": 1,
        "security_floor": 0,
        "created": "2026-01-01T00:00:00Z",
        "licence": "MIT",
        "package": package,
        "files": [{**file, "chunks": chunks}],
        "requires": {"arch": ["aarch64"], "power_watts": 1.5},
        "rollout": {"percent": 50},
    }
    return encode(tree)


if __name__ == "__main__":
    raise SystemExit(main())
