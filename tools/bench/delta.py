"""What an update fetches and writes: a generated GGUF of 50 MB with 48 tensors, edited in parts.

`python -m tools.bench.delta [--json FILE] [--folder DIR | --disk KIND] [--align N] [--whole]`; the
kinds are ext4, xfs, btrfs and xfs-on-ext4, which is xfs in a file of an ext4.
Each case is an update over the air from publisher to committed release (`air_board.py`): metadata,
manifest, blobs, folders and ledger. Bytes written are those that the kernel counts for this process
(`write_bytes` of /proc/self/io), so the folder must be on a disk and not in memory. With `--disk` a
file system of that kind is made on a loop device (root only), and what the device itself was given
to write is counted too: metadata and journal included. `--align` is GGUF's `general.alignment`,
`--whole` publishes the model as one file.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aiosd.protocol.release_json import NAME
from tools.bench.air_board import AirBoard, Cost, Publisher, scratch_in_memory
from tools.expert.pack import Terms, pack
from tools.gguf.layout import Tensor, gguf, number, string
from tools.gguf.random_llama import SMALL, settings, tokenizer
from tools.torture.disk import NESTED, Disk, NoDiskError

TENSORS = 48
ELEMENTS = 260_416  # 48 tensors of 1.04 MB are 50 MB
BLOCK = 4096
DISK_BYTES = 2 << 30
NOW = 1_700_000_000.0
# The figures to reach: shares of the model's bytes, and written over fetched.
HEADER_LIMIT, TENSOR_LIMIT, WRITTEN_LIMIT = 0.001, 0.025, 1.02


@dataclass(frozen=True)
class Row:
    """One update: what it cost, of how large a model and manifest.

    `fixed_blocks_bytes` is what an index of fixed blocks (RAUC's adaptive updates) would fetch.
    """

    case: str
    model_bytes: int
    manifest_bytes: int
    cost: Cost
    fixed_blocks_bytes: int = 0

    @property
    def share(self) -> float:
        """Fetched, with manifest and metadata, of the model's bytes."""
        return self.cost.fetched / self.model_bytes

    @property
    def written(self) -> float:
        """Bytes written for each byte fetched, all together."""
        return self.cost.written / self.cost.fetched

    @property
    def stored(self) -> float:
        """Bytes written of what came, for each byte fetched: blobs, manifests and metadata."""
        return (self.cost.written - self.cost.ledger) / self.cost.fetched


def main() -> int:
    """Measure, print, and say whether the figures are reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on a disk (%(default)s)")
    disks = ("ext4", "xfs", "btrfs", NESTED)
    parser.add_argument("--disk", choices=disks, help="on one of its own")
    parser.add_argument("--align", type=int, default=32, help="of tensors (%(default)s)")
    parser.add_argument("--whole", action="store_true", help="publish the model as one file")
    options = parser.parse_args()
    scratch_in_memory()
    sys.dont_write_bytecode = True
    if options.disk:
        try:
            with Disk(options.disk, DISK_BYTES, on_disk=options.folder) as disk:
                return _report(_measured(disk.root, options, disk.written), options)
        except NoDiskError as error:
            print(error)
            return 1
    with tempfile.TemporaryDirectory(prefix="delta-", dir=options.folder) as folder:
        return _report(_measured(Path(folder), options), options)


def _measured(
    folder: Path, options: argparse.Namespace, device: Callable[[], int] = lambda: 0
) -> list[Row]:
    terms = Terms(parts="never" if options.whole else "auto")
    return measure(folder, options.align, device, terms)


def _report(rows: list[Row], options: argparse.Namespace) -> int:
    """Print, and say whether the figures are reached."""
    show(rows)
    if options.json:
        facts = [
            {**vars(row), "cost": vars(row.cost), "share": row.share, "stored": row.stored}
            for row in rows
        ]
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    first, header, tensor, *_ = rows
    reached = (
        header.share <= HEADER_LIMIT
        and tensor.share <= TENSOR_LIMIT
        and first.stored <= WRITTEN_LIMIT
        and tensor.stored <= WRITTEN_LIMIT
    )
    if not first.cost.written:
        print("the kernel counted no write: --folder is in memory, and the ratio is not measured")
    print("all figures reached" if reached else "NOT all figures reached")
    return 0 if reached else 1


def measure(
    folder: Path,
    align: int = 32,
    device: Callable[[], int] = lambda: 0,
    terms: Terms = Terms(),  # noqa: B008 -- frozen
) -> list[Row]:
    """Publish a model, then edits of it, each as the release after the first.

    `device` says how many bytes the device below has been given to write.
    """
    source = np.random.default_rng(5)
    tensors = [
        Tensor(
            f"blk.{each}.weight",
            (ELEMENTS,),
            source.standard_normal(ELEMENTS, dtype=np.float32).tobytes(),
        )
        for each in range(TENSORS)
    ]
    head = [*settings(SMALL), *tokenizer(SMALL), number("general.alignment", align)]
    longer = [*head, string("tokenizer.chat_template", "x" * 200)]
    other = [*tensors]
    other[20] = replace(
        tensors[20], data=source.standard_normal(ELEMENTS, dtype=np.float32).tobytes()
    )
    partly = [*tensors]
    partly[20] = replace(tensors[20], data=bytes(1000) + tensors[20].data[1000:])
    first = gguf(head, tensors, align=align)
    cases = [
        ("first install", first),
        ("header edited (+200 bytes)", gguf(longer, tensors, align=align)),
        (f"1 of {TENSORS} tensors changed", gguf(head, other, align=align)),
        ("1000 bytes of a tensor changed", gguf(head, partly, align=align)),
        ("nothing of the model changed", first),
    ]
    del tensors, other, partly
    rows = []
    for turn, (name, data) in enumerate(cases):
        publisher = Publisher(folder / f"repository-{turn}")
        board = AirBoard(folder / f"board-{turn}", publisher, device)
        if turn:
            publisher.publish(_packed(folder, 1, first, terms))
        packed = _packed(folder, turn + 1, data, terms)
        fixed = _fixed(first, data) if turn else 0
        size = (packed / NAME).stat().st_size
        with contextlib.closing(board):
            if turn:
                board.bring()
            publisher.publish(packed)
            rows.append(Row(name, len(data), size, board.bring(), fixed))
    return rows


def _packed(folder: Path, release: int, data: bytes, terms: Terms) -> Path:
    """Pack a release with that model; one that is packed already stays."""
    digest = hashlib.sha256(data).hexdigest()
    out = folder / f"packed-{release}-{digest[:8]}"
    if out.exists():
        return out
    source = folder / f"source-{release}" / "bench"
    source.mkdir(parents=True, exist_ok=True)
    (source / "model.gguf").write_bytes(data)
    (source / "expert.toml").write_text(
        f"""name = "bench"
release = {release}
summary = "Random weights, to measure with"
licence = "CC0-1.0"
task = "text.generate"
[engine]
name = "llama"
[input]
type = "text"
[[files]]
path = "model.gguf"
role = "model"
size = {len(data)}
sha256 = "{digest}"
[prompt]
template = "{{text}}"
[[self_test.cases]]
text = "e"
expect = {{ finish = "stop" }}
""",
        encoding="utf-8",
    )
    pack(source, out, terms, NOW)
    return out


def _fixed(old: bytes, new: bytes) -> int:
    """Return what an index of fixed blocks (RAUC's adaptive updates) would fetch."""
    here = {hashlib.sha256(old[at : at + BLOCK]).digest() for at in range(0, len(old), BLOCK)}
    blocks = (new[at : at + BLOCK] for at in range(0, len(new), BLOCK))
    return sum(len(block) for block in blocks if hashlib.sha256(block).digest() not in here)


def show(rows: list[Row]) -> None:
    """Print a table."""
    print(f"a model of {rows[0].model_bytes / 1e6:.1f} MB with {TENSORS} tensors")
    titles = ("update", "fetched", "of model", "requests", "manifest", "4 KiB blocks")
    print(f"{titles[0]:32}" + "".join(f"{title:>14}" for title in titles[1:]))
    for row in rows:
        cost = row.cost
        print(
            f"{row.case:32}{cost.fetched:>14,}{row.share:>14.3%}{cost.requests:>14}"
            f"{row.manifest_bytes:>14,}{row.fixed_blocks_bytes / row.model_bytes:>14.2%}"
        )
    titles = ("", "written", "of fetched", "ledger", "without", "copied", "shared", "device")
    print("".join(f"{title:>{32 if not title else 14}}" for title in titles))
    for row in rows:
        cost = row.cost
        print(
            f"{row.case:32}{cost.written:>14,}{row.written:>14.4f}{cost.ledger:>14,}"
            f"{row.stored:>14.4f}{cost.copied:>14,}{cost.shared:>14,}{cost.device:>14,}"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
