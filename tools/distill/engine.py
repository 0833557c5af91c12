"""A package in the real engine: its scores on held-out rows, and what a daemon says of its cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.client import Client
from aiosd.domain.inputs import TextInput
from aiosd.domain.manifest import Manifest, SelfTestCase
from aiosd.domain.prepared import Tensors
from aiosd.domain.request import Sampling
from aiosd.engines.litert import LitertEngine, find_library
from aiosd.pipelines.pipeline import Pipeline
from aiosd.policy.rollout.self_test import differences
from aiosd.protocol.toml import decode_toml
from tools.demo.private_daemon import PrivateDaemon
from tools.distill.fault import DistillError
from tools.distill.table import Input

ROUNDS = 300
# What the engine is timed with: a text, a file, a series.
Sample = str | Path | list[float]


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a package."""
    path = folder / "expert.toml"
    return decode_toml(path.read_text(encoding="utf-8"), Manifest, path=str(path))


class Judge:
    """A package's model as a worker has it, before any post step."""

    def __init__(self, folder: Path) -> None:
        """Load it."""
        self.manifest = read_manifest(folder)
        if self.manifest.model is None:
            raise DistillError(f"{folder} names no model")
        self._pipeline = Pipeline(self.manifest, folder)
        self._engine = LitertEngine(find_library(""))
        model = {"model": folder / self.manifest.model.path}
        self._engine.load(model, self.manifest.engine, threads=1)

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels): texts through the package's steps, arrays as they are."""
        return np.stack([self._one(each) for each in inputs])

    def _one(self, one: Input) -> NDArray[np.float32]:
        prepared: Any = (
            self._pipeline.prepare(TextInput(text=one), Sampling())
            if isinstance(one, str)
            else Tensors((np.asarray(one, np.float32)[None],))
        )
        given = next(iter(self._engine.run(prepared, cancelled=lambda: False)))
        if not isinstance(given, Tensors):
            raise DistillError("the model does not give arrays")
        row: NDArray[np.float32] = np.asarray(given.arrays[0])[0]
        return row


def measure(folder: Path, sample: Sample) -> dict[str, float | str]:
    """Return size, times and memory of a package that a daemon of its own runs.

    Times are of whole answers in the worker (pipeline and model), one thread, warm.
    Self-tests run first; what differs is told under `failed` if too much does.
    """
    manifest = read_manifest(folder)
    with PrivateDaemon([_named(folder, manifest.name)]) as daemon, daemon.client() as client:
        failed = failures(client, manifest, folder)
        times = np.array([_once(client, manifest, sample) for _ in range(ROUNDS)])
        ps = client.ps()
        energy = client.run(**_asked(manifest, sample)).usage.joules
    size = manifest.model.size if manifest.model else 0
    found: dict[str, float | str] = {
        "bytes": float(size),
        "run_ms_p50": round(float(np.quantile(times, 0.5)), 3),
        "run_ms_p99": round(float(np.quantile(times, 0.99)), 3),
        "ram_bytes": float(_ram(ps, manifest.name)),
        "self_tests": float(len(manifest.self_test.cases)),
    }
    if fails(failed, len(manifest.self_test.cases), manifest.self_test.pass_mark):
        found["failed"] = "; ".join(failed)
    found["joules"] = float(energy) if energy else "no meter and no model on this machine"
    return found


def fails(differing: Sequence[str], cases: int, pass_mark: float) -> bool:
    """Tell whether a board would refuse the release: more cases differ than `pass_mark` forgives.

    `differing` has a line for each difference, several of one case perhaps.
    """
    wrong = len({each.partition(":")[0] for each in differing})
    return wrong > (1.0 - pass_mark) * cases


def _named(folder: Path, name: str) -> Path:
    """Return a link to the package that has its name; the daemon wants both alike."""
    if folder.name == name:
        return folder
    link = folder.parent / "named" / name
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(folder.resolve())
    return link


def _asked(manifest: Manifest, sample: Sample) -> dict[str, Any]:
    if isinstance(sample, list):
        return {"series": sample, "expert": manifest.name}
    if isinstance(sample, Path):
        return {manifest.input.type.value: sample.read_bytes(), "expert": manifest.name}
    return {"text": sample, "expert": manifest.name}


def _once(client: Client, manifest: Manifest, sample: Sample) -> float:
    return float(client.run(**_asked(manifest, sample)).usage.run_ms)


def failures(client: Client, manifest: Manifest, folder: Path) -> list[str]:
    """Return every difference of the self-test, through a daemon."""
    return [
        f"case {number}: {each}"
        for number, case in enumerate(manifest.self_test.cases)
        for each in differences(
            case.expect, client.run(**_case(manifest, folder, case)).output, case.tolerance
        )
    ]


def _case(manifest: Manifest, folder: Path, case: SelfTestCase) -> dict[str, Any]:
    if case.text is not None:
        return {"text": case.text, "expert": manifest.name}
    if case.values is not None:
        return {"series": case.values, "expert": manifest.name}
    if case.file is None:
        raise DistillError("a self-test case with neither text, values nor file")
    data = (folder / case.file).read_bytes()
    return {manifest.input.type.value: data, "expert": manifest.name}


def _ram(ps: dict[str, Any], name: str) -> int:
    """Return what the worker has for itself, pages that it shares with others not counted."""
    rows: list[dict[str, Any]] = ps.get("experts", [])
    return next((int(row["own_bytes"]) for row in rows if row.get("name") == name), 0)
