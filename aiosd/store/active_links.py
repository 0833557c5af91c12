"""The links `experts/<name>` that make one release of each expert the active one.

A link moves in one step: whoever reads it finds the old release or the new one.
"""

import contextlib
import os
import shutil
from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.store.durable import make_folders, replace_link, sync_folder
from aiosd.store.exchange import exchange
from aiosd.store.failpoint import reach
from aiosd.store.packages import read_manifest

DRAFT = ".link-"


class ActiveLinks:
    """The links in one experts folder, into one folder of releases."""

    def __init__(self, experts: Path, releases: Path) -> None:
        """Take the two folders, which need not exist yet."""
        self.experts = experts
        self._releases = releases

    def release(self, name: str) -> int | None:
        """Return the release that the link points to; None if there is no such link."""
        place = self.experts / name
        try:
            target = Path(os.path.normpath(place.parent / place.readlink()))
        except OSError:
            return None
        inside = target.parent == self._releases / name and target.name.isdecimal()
        return int(target.name) if inside else None

    def point(self, name: str, release: int) -> None:
        """Make the release the active one; a plain folder in its place becomes a release itself.

        Raises:
            OSError: the disk says no; what was active still is.
        """
        place = self.experts / name
        target = self._releases / name / str(release)
        # A link in a folder that is a link itself would start from elsewhere.
        away = self.experts.is_symlink()
        pointer = str(target.absolute()) if away else os.path.relpath(target, self.experts)
        if place.is_dir() and not place.is_symlink():
            self._replace_folder(place, pointer)
        else:
            replace_link(place, pointer)

    def remove(self, name: str) -> None:
        """Take the link away, if it is one; a plain folder stays.

        Raises:
            OSError: the disk says no.
        """
        place = self.experts / name
        if place.is_symlink():
            reach("deactivate.unlink")
            place.unlink()
            sync_folder(self.experts)

    def recover(self) -> None:
        """Finish or undo what a process that died left half done.

        Raises:
            OSError: the disk says no.
        """
        with contextlib.suppress(FileNotFoundError):
            for left in sorted(self.experts.iterdir()):
                if left.name.startswith(DRAFT):
                    self.tidy(left.name.removeprefix(DRAFT))

    def tidy(self, name: str) -> None:
        """Delete a link that never came into place; make a folder that left its place a release.

        Raises:
            OSError: the disk says no.
        """
        left = self.experts / f"{DRAFT}{name}"
        if left.is_symlink():
            left.unlink()
        elif left.is_dir():
            try:
                home = self._releases / name / str(read_manifest(left).release)
            except PackageError:
                shutil.rmtree(left, ignore_errors=True)
                return
            make_folders(home.parent)
            if home.exists():  # published under the same number: that one is kept
                shutil.rmtree(left, ignore_errors=True)
                return
            reach("activate.adopt")
            left.rename(home)
            sync_folder(home.parent)
            sync_folder(self.experts)

    def _replace_folder(self, place: Path, pointer: str) -> None:
        """Put a link where a plain folder is."""
        draft = place.with_name(f"{DRAFT}{place.name}")
        draft.symlink_to(pointer)
        reach("activate.exchange")
        if not exchange(draft, place):
            # No file system that a board uses lacks it; the installer's `recover` knows the name.
            aside = place.with_name(f".aside-{place.name}")
            place.rename(aside)
            draft.rename(place)
            aside.rename(draft)
        reach("activate.exchanged")
        sync_folder(self.experts)
        self.tidy(place.name)
