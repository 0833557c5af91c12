"""What an update fetches and writes: a generated GGUF of 50 MB with 48 tensors, edited in parts.

`python -m tools.bench.delta [--json FILE] [--folder DIR | --disk KIND] [--align N]`; the kinds are
ext4, xfs, btrfs and xfs-on-ext4, which is xfs in a file of an ext4.
Nothing goes over a network: ranges are read from the publisher's file where a board would ask a
server for them. Bytes written are those that the kernel counts for this process (`write_bytes` of
/proc/self/io), so the folder must be on a disk and not in memory. With `--disk` a file system of
that kind is made on a loop device (root only), and what the device itself was given to write is
counted too: metadata and journal included. `--align` is GGUF's `general.alignment`.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import plan, whole
from aiosd.protocol.release_json import NAME, decode_release
from aiosd.store.assembly import Copied, copy_chunks
from aiosd.store.layout import Layout
from aiosd.store.releases import Releases
from tools.expert.pack import Terms, pack
from tools.gguf.layout import Tensor, gguf, number, string
from tools.gguf.random_llama import SMALL, settings, tokenizer
from tools.torture.disk import NESTED, Disk, NoDiskError

TENSORS = 48
ELEMENTS = 260_416  # 48 tensors of 1.04 MB are 50 MB
BLOCK = 4096
DISK_BYTES = 2 << 30
NOW = 1_700_000_000.0
PIECE = 65_536
# The figures to reach: shares of the model's bytes, and written over fetched.
HEADER_LIMIT, TENSOR_LIMIT, WRITTEN_LIMIT = 0.001, 0.025, 1.02


@dataclass(frozen=True)
class Row:
    """One update: what was fetched (with the manifest) and written, of how large a model."""

    case: str
    model_bytes: int
    fetched_bytes: int
    ranges: int
    manifest_bytes: int
    copied_bytes: int
    written_bytes: int
    fixed_blocks_bytes: int
    shared_bytes: int = 0
    device_bytes: int = 0

    @property
    def share(self) -> float:
        """Fetched, the manifest included, of the model's bytes."""
        return (self.fetched_bytes + self.manifest_bytes) / self.model_bytes

    @property
    def written(self) -> float:
        """Bytes written for each byte that had to get onto the disk: the model and the manifest."""
        return self.written_bytes / (self.model_bytes + self.manifest_bytes)


def main() -> int:
    """Measure, print, and say whether the figures are reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on a disk (%(default)s)")
    disks = ("ext4", "xfs", "btrfs", NESTED)
    parser.add_argument("--disk", choices=disks, help="on one of its own")
    parser.add_argument("--align", type=int, default=32, help="of tensors (%(default)s)")
    options = parser.parse_args()
    if options.disk:
        try:
            with Disk(options.disk, DISK_BYTES, on_disk=options.folder) as disk:
                return _report(measure(disk.root, options.align, disk.written), options)
        except NoDiskError as error:
            print(error)
            return 1
    with tempfile.TemporaryDirectory(prefix="delta-", dir=options.folder) as folder:
        return _report(measure(Path(folder), options.align), options)


def _report(rows: list[Row], options: argparse.Namespace) -> int:
    """Print, and say whether the figures are reached."""
    show(rows)
    if options.json:
        facts = [{**vars(row), "share": row.share, "written": row.written} for row in rows]
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    first, header, tensor, *_ = rows
    reached = (
        header.share <= HEADER_LIMIT
        and tensor.share <= TENSOR_LIMIT
        and all(row.written <= WRITTEN_LIMIT for row in rows if row.fetched_bytes)
    )
    if not first.written_bytes:
        print("the kernel counted no write: --folder is in memory, and the ratio is not measured")
    print("all figures reached" if reached else "NOT all figures reached")
    return 0 if reached else 1


def measure(folder: Path, align: int = 32, device: Callable[[], int] = lambda: 0) -> list[Row]:
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
        board = Releases(Layout(experts=(folder / f"board-{turn}" / "experts",)))
        if turn:
            _update(board, _packed(folder, 1, first), device)
        row = _update(board, _packed(folder, turn + 1, data), device)
        fixed = _fixed(first, data) if turn else 0
        rows.append(replace(row, case=name, fixed_blocks_bytes=fixed))
    return rows


def _packed(folder: Path, release: int, data: bytes) -> Path:
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
    pack(source, out, Terms(), NOW)
    return out


def _update(board: Releases, packed: Path, device: Callable[[], int]) -> Row:
    """Bring a release onto a board as its updater does, and count."""
    manifest = (packed / NAME).read_bytes()
    release = decode_release(manifest)
    (file,) = release.files
    os.sync()
    before, device_before = _written(), device()
    fetched = ranges = 0
    copied = Copied()
    with board.busy():
        indexes = board.indexes()
        if not board.blobs.has(file.sha256, file.size):
            there = packed / "blobs" / "sha256" / file.sha256[:2] / file.sha256
            fetched, ranges, copied = _fetch(
                board, there, file.sha256, file.size, file.chunks, indexes
            )
        board.stage(manifest)
        board.activate(release.name, release.release)
    written = _written() - before
    os.sync()
    return Row(
        "",
        file.size,
        fetched,
        ranges,
        len(manifest),
        copied.written,
        written,
        0,
        copied.shared,
        device() - device_before,
    )


def _fetch(
    board: Releases,
    there: Path,
    sha256: str,
    size: int,
    index: ChunkIndex | None,
    indexes: dict[str, ChunkIndex],
) -> tuple[int, int, Copied]:
    """Put a blob together from ranges of `there` and chunks of blobs that are here."""
    found = plan(indexes, index) if index else whole(size)
    part, copied = board.blobs.part(sha256), Copied()
    with part.open("w+b", buffering=0) as target, there.open("rb") as server:
        if index:
            target.truncate(size)
            copied = copy_chunks(board.blobs, found.copies, index, target.fileno())
        for each in [*found.ranges, *copied.missing]:
            for at in range(each.offset, each.offset + each.size, PIECE):
                length = min(PIECE, each.offset + each.size - at)
                os.pwrite(target.fileno(), os.pread(server.fileno(), length, at), at)
        target.seek(0)
        if hashlib.file_digest(target, "sha256").hexdigest() != sha256:
            raise RuntimeError("the blob that was put together is not the one that was signed")
    board.blobs.adopt(sha256, size)
    return found.fetch_bytes, len(found.ranges), copied


def _fixed(old: bytes, new: bytes) -> int:
    """Return what an index of fixed blocks (RAUC's adaptive updates) would fetch."""
    here = {hashlib.sha256(old[at : at + BLOCK]).digest() for at in range(0, len(old), BLOCK)}
    blocks = (new[at : at + BLOCK] for at in range(0, len(new), BLOCK))
    return sum(len(block) for block in blocks if hashlib.sha256(block).digest() not in here)


def _written() -> int:
    """Return the bytes that this process has sent to disks."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == "write_bytes":
            return int(value)
    return 0


def show(rows: list[Row]) -> None:
    """Print a table."""
    print(f"a model of {rows[0].model_bytes / 1e6:.1f} MB with {TENSORS} tensors")
    titles = (
        "update",
        "model fetched",
        "requests",
        "manifest",
        "all of model",
        "4 KiB blocks",
        "written",
    )
    print(f"{titles[0]:32}" + "".join(f"{title:>15}" for title in titles[1:]))
    for row in rows:
        print(
            f"{row.case:32}{row.fetched_bytes:>15,}{row.ranges:>15}{row.manifest_bytes:>15,}"
            f"{row.share:>15.3%}{row.fixed_blocks_bytes / row.model_bytes:>15.2%}"
            f"{row.written_bytes:>15,}"
        )
    print(
        "written for each byte that must be on the disk (model and manifest), a new blob only; "
        "for each byte fetched; bytes shared with an older blob; bytes that the device was given"
    )
    for row in rows:
        if row.fetched_bytes:
            each = row.written_bytes / (row.fetched_bytes + row.manifest_bytes)
            print(
                f"  {row.case:32}{row.written:>9.4f}{each:>11.4f}"
                f"{row.shared_bytes:>14,}{row.device_bytes:>14,}"
            )
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
