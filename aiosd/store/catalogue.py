"""What is installed on this board: the packages found in the experts folders.

The folders are searched in order, one level deep, and the first whole package of a name wins
whatever its release is, so that an owner can go back to an older release by installing it. A
package that is refused hides nothing: a whole one of the same name in a later folder is used.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from aiosd.domain.errors import PackageError, UnknownExpertError
from aiosd.domain.manifest import Manifest
from aiosd.store.packages import (
    Installed,
    MissingFileError,
    check_files,
    check_folder_name,
    is_package,
    read_manifest,
)

Read = Callable[[Path], Manifest]


@dataclass(frozen=True)
class Refused:
    """A folder that holds no usable package, with the reason.

    `missing` is true where the manifest is fine and only a file is not there (yet): nothing is
    broken, and fetching the file installs the expert.
    """

    path: Path
    reason: str
    missing: bool = False


@dataclass(frozen=True)
class Catalogue:
    """The installed experts by name; what was refused; and what an earlier folder hides."""

    experts: Mapping[str, Installed] = field(default_factory=lambda: MappingProxyType({}))
    refused: tuple[Refused, ...] = ()
    hidden: tuple[Installed, ...] = ()

    def find(self, name: str) -> Installed:
        """Return the expert of that name.

        Raises:
            UnknownExpertError: there is none; `nearest` holds up to three names that look alike.
        """
        try:
            return self.experts[name]
        except KeyError:
            nearest = difflib.get_close_matches(name, self.experts, n=3)
            hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
            raise UnknownExpertError(
                f"no expert named {name!r} is installed{hint}", nearest=nearest
            ) from None


def scan(folders: Sequence[Path], read: Read = read_manifest) -> Catalogue:
    """Read every package of the experts folders; never fails for one of them.

    `read` returns the manifest in a package folder, and may remember what it read before.

    A folder that does not exist is as good as empty. Names with a leading dot and folders without
    a manifest are no packages and are passed over. Reads manifests and file sizes only.
    """
    experts: dict[str, Installed] = {}
    refused: list[Refused] = []
    hidden: list[Installed] = []
    for folder in folders:
        try:
            candidates = _candidates(folder)
        except OSError as error:
            refused.append(Refused(folder, f"{folder}: {error.strerror}"))
            continue
        for candidate in candidates:
            try:
                installed = open_package(candidate, read)
            except MissingFileError as error:
                refused.append(Refused(candidate, error.message, missing=True))
            except PackageError as error:
                refused.append(Refused(candidate, error.message))
            else:
                if experts.setdefault(installed.manifest.name, installed) is not installed:
                    hidden.append(installed)
    return Catalogue(MappingProxyType(experts), tuple(refused), tuple(hidden))


def open_package(folder: Path, read: Read = read_manifest) -> Installed:
    """Return the package in `folder`, its files present and of the declared size.

    Raises:
        PackageError: it is not what its manifest claims; a `MissingFileError` if a file is absent.
    """
    # A link is the active release: whoever holds this package keeps that one when the link moves.
    place = folder.resolve() if folder.is_symlink() else folder
    manifest = read(place)
    check_folder_name(manifest, folder)
    installed = Installed(manifest, place)
    check_files(installed)
    return installed


def _candidates(folder: Path) -> list[Path]:
    """Return the package folders in an experts folder, by name.

    Raises:
        OSError: the folder exists and cannot be read.
    """
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    return [path for path in names if is_package(path)]
