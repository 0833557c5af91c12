"""The header of a model that llama.cpp reads from several files, put together from theirs.

The first holds all settings, and says how many files and tensors there are; each says which one it
is. The files must be those and no others: nothing here is believed that a part says of another.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aiosd.domain.model_parts import part_names
from aiosd.models.gguf_header import GgufHeader, read_header

# llama.cpp's llama-arch.cpp: LLM_KV_SPLIT_NO, _COUNT and _TENSORS_COUNT.
NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"
ALIGNMENT = "general.alignment"
_OF_A_PART = {NUMBER, COUNT, TENSORS, ALIGNMENT}


def part_paths(first: Path) -> list[Path]:
    """Return all files of the model that begins with `first`; they need not be there."""
    return [first.with_name(name) for name in part_names(first.name)]


def read_model(paths: Sequence[Path]) -> GgufHeader:
    """Return the header of the model in these files, which are in order.

    Of several the tensors say in which of them they are and begin there at `at`; `begin` is 0,
    `size` is that of all together, and `marks` are the first's.

    Raises:
        PackageError: a file is no whole, sane GGUF file, or they are not the parts of one model.
    """
    first = read_header(paths[0])
    if len(paths) == 1:
        if first.whole(COUNT) > 1:
            first.fail(
                f"the file is part {first.whole(NUMBER) + 1} of {first.whole(COUNT)} of a model: "
                "the others must be named beside it"
            )
        return first
    total = first.whole(TENSORS)
    found = GgufHeader(first.size, first.path, first.values, first.arrays)
    found.marks, found.alignment = first.marks, first.alignment
    _take(first, found, 0, len(paths), total)
    for number, path in enumerate(paths[1:], 1):
        part = read_header(path)
        strange = (part.values.keys() | part.arrays.keys()) - _OF_A_PART
        if strange:
            part.fail(f"{min(strange)!r} may stand in the first part of a model only")
        if not part.tensors:
            part.fail("this part of a model holds no tensors")
        _take(part, found, number, len(paths), total)
        found.size += part.size
    if len(found.tensors) != total:
        found.fail(f"the parts hold {len(found.tensors)} tensors together and not {total}")
    return found


def _take(part: GgufHeader, into: GgufHeader, number: int, count: int, total: int) -> None:
    """Add the tensors of one part, which is the one that it should be.

    Raises:
        PackageError: it is not.
    """
    said = (part.values.get(NUMBER), part.values.get(COUNT), part.values.get(TENSORS))
    if said != (number, count, total):
        part.fail(
            f"the file should be part {number + 1} of {count} with {total} tensors in all; its "
            f"split.no, split.count and split.tensors.count are {_plain(said)}"
        )
    if len(into.tensors) + len(part.tensors) > total:
        part.fail(f"the parts hold over {total} tensors, which is what the first says")
    for name, tensor in part.tensors.items():
        if name in into.tensors:
            part.fail(f"tensor {name!r} is in two parts")
        into.tensors[name] = replace(tensor, at=part.begin + tensor.at, part=number)


def _plain(said: Sequence[object]) -> str:
    return ", ".join("missing" if each is None else str(each)[:40] for each in said)
