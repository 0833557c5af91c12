"""A GGUF model in parts, so that a board whose file system shares no blocks writes what changed.

The first part holds the settings and no tensor. Behind it each large tensor has a part of its own,
and small ones have some together. Who lies with whom follows from sizes and order alone: other
settings or weights move no tensor, and a part without a change is the same to the byte.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from aiosd.domain.model_parts import MAX_PARTS, part_name
from aiosd.models.gguf_header import GgufHeader, Tensor, read_header
from aiosd.models.gguf_parts import ALIGNMENT, COUNT, NUMBER, TENSORS
from aiosd.models.gguf_types import TYPES

# Below this a model stays whole: to write all of it anew is little.
LEAST_MODEL = 8_388_608
# Tensors of this size have a part of their own. A file takes whole blocks, half a block of 4 KiB
# more than it holds on the average: under 1 % of this.
LEAST_PART = 262_144
# llama.cpp looks every tensor up once for each file (llama_model_loader::get_mapping_range), some
# 3 µs each on a desk: so many take 12 ms of a load there, and no more.
MOST_LOOKUPS = 4096
_FEWEST = 8
_U16, _I32, _U32 = 2, 5, 4  # gguf.h, enum gguf_type
_DEFAULT_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
_NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}


def may_be_cut(model: Path) -> bool:
    """Tell whether a file is a whole GGUF model of several tensors, which says nothing of parts.

    Raises:
        PackageError: it is a damaged one.
    """
    with model.open("rb") as file:
        if file.read(4) != b"GGUF":
            return False
    header = read_header(model)
    known = header.values.keys() | header.arrays.keys()
    return len(header.tensors) > 1 and not known & {NUMBER, COUNT, TENSORS}


def cut(model: Path, into: Path) -> list[Path]:
    """Write the parts of a model into a folder; return them in their order.

    Raises:
        PackageError: the model is damaged.
        OSError: a part cannot be written.
    """
    header = read_header(model)
    groups: list[list[str]] = [[], *grouped(header.tensors)]
    paths = []
    with model.open("rb") as source:
        head = source.read(header.marks[-1])
        version, _, count = struct.unpack_from("<IQQ", head, 4)
        plain = [_setting(ALIGNMENT, _U32, struct.pack("<I", header.alignment))]
        if header.alignment == _DEFAULT_ALIGNMENT:
            plain = []
        for number, names in enumerate(groups):
            own = [
                _setting(NUMBER, _U16, struct.pack("<H", number)),
                _setting(COUNT, _U16, struct.pack("<H", len(groups))),
                _setting(TENSORS, _I32, struct.pack("<i", len(header.tensors))),
            ]
            settings, pairs = (plain, len(plain)) if number else ([head[24:]], count)
            start = struct.pack("<4sIQQ", b"GGUF", version, len(names), pairs + len(own))
            path = into / part_name(model.stem, number + 1, len(groups))
            with path.open("xb") as file:
                file.write(b"".join([start, *settings, *own]))
                _write_tensors(file, source, header, names)
            paths.append(path)
    return paths


def grouped(tensors: dict[str, Tensor]) -> list[list[str]]:
    """Return the tensors of each part behind the first: as many parts as loads can do with."""
    most = min(MAX_PARTS, max(_FEWEST, MOST_LOOKUPS // len(tensors)))
    least = LEAST_PART
    while True:
        groups = _grouped(tensors, least)
        if len(groups) < most:
            return groups
        least += least // 4


def _grouped(tensors: dict[str, Tensor], least: int) -> list[list[str]]:
    """Return the groups, each where the first of its tensors stands.

    A large tensor does not end a group of small ones: norms lie between matrices in every layer.
    """
    groups: list[list[str]] = []
    small: list[str] = []
    held = 0
    for name, tensor in tensors.items():
        if tensor.size >= least:
            groups.append([name])
            continue
        if not small or held + tensor.size > least:
            small, held = [], 0
            groups.append(small)
        small.append(name)
        held += tensor.size
    return groups


def _write_tensors(
    file: BinaryIO, source: BinaryIO, header: GgufHeader, names: Sequence[str]
) -> None:
    """Write the list of some tensors, and their data."""
    at = 0
    for name in names:
        tensor = header.tensors[name]
        file.write(_text(name))
        file.write(struct.pack("<I", len(tensor.shape)))
        file.write(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape))
        file.write(struct.pack("<IQ", _NUMBERS[tensor.kind], at))
        at += tensor.size + -tensor.size % header.alignment
    _pad(file, header.alignment)
    for name in names:
        tensor = header.tensors[name]
        source.seek(header.begin + tensor.at)
        _copy(source, file, tensor.size)
        _pad(file, header.alignment)


def _copy(source: BinaryIO, target: BinaryIO, count: int) -> None:
    pieces = [1_048_576] * (count // 1_048_576) + [count % 1_048_576]
    target.writelines(source.read(size) for size in pieces)


def _pad(file: BinaryIO, alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))


def _setting(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
