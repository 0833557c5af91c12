"""The small text files of a package that steps read: labels, vocabularies, grammars."""

from pathlib import Path

from aiosd.domain.errors import PackageError

MAX_BYTES = 8 * 1024 * 1024


def read_text(folder: Path, name: str) -> str:
    """Return the package's file of that name as UTF-8 text.

    Raises:
        PackageError: the name leaves the package, or there is no such file, or it is over
            `MAX_BYTES`, or it is not UTF-8.
    """
    if not name or name != Path(name).name or name in {".", ".."}:
        raise PackageError(f"{name!r} is not the name of a file of the package", path=str(folder))
    path = folder / name
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PackageError(f"{name} has {size} bytes; at most {MAX_BYTES}", path=str(path))
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PackageError(f"{name} cannot be read: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise PackageError(f"{name} is not UTF-8: {error.reason}", path=str(path)) from error


def read_labels(folder: Path, name: str) -> tuple[str, ...]:
    """Return the labels of a file, one a line in the order of the model's outputs.

    A line may begin with its own number (`0 background`, `0: background`) if every line does;
    empty lines at the end are dropped.

    Raises:
        PackageError: as `read_text`, or the file is empty.
    """
    lines = [line.strip() for line in read_text(folder, name).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise PackageError(f"{name} holds no labels", path=str(folder / name))
    split = [line.replace(":", " ", 1).split(maxsplit=1) for line in lines]
    if all(
        len(parts) == 2 and parts[0] == str(number)  # noqa: PLR2004 - a number and a label
        for number, parts in enumerate(split)
    ):
        return tuple(parts[1].strip() for parts in split)
    return tuple(lines)
