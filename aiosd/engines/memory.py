"""Giving memory back to the kernel while a model stays loaded, and taking it again.

Linux only, as all of this project; where the C library or the kernel lacks a call the memory
stays, and what is measured afterwards says so.
"""

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

# <asm-generic/mman-common.h>
_WILL_NEED = 3
_DO_NOT_NEED = 4
_POPULATE_READ = 22  # Linux 5.14

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def trim_heap() -> None:
    """Give free memory of the C library's heap back, also from its middle (glibc; else nothing)."""
    with contextlib.suppress(AttributeError):  # musl has no malloc_trim
        _libc.malloc_trim(0)


def unmap_pages(paths: Sequence[str]) -> None:
    """Take the pages of mapped files out of this process; the page cache may keep them.

    The mapping stays: a page that is touched again is found there, or read from the file.
    """
    for start, size in _mappings(paths):
        _libc.madvise(start, size, _DO_NOT_NEED)


def map_pages(paths: Sequence[str]) -> None:
    """Bring all pages of mapped files into this process, read in order where they must be read.

    A kernel before 5.14 can only be told to read them ahead; they are then mapped as touched.
    """
    for start, size in _mappings(paths):
        if _libc.madvise(start, size, _POPULATE_READ):
            _libc.madvise(start, size, _WILL_NEED)


def _mappings(paths: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where files are mapped for reading only: (address, bytes)."""
    real = {str(Path(path).resolve()) for path in paths}
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        # address perms offset device inode path, which may hold spaces
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[5] in real and "w" not in words[1]:  # noqa: PLR2004
            start, _, end = words[0].partition("-")
            yield int(start, 16), int(end, 16) - int(start, 16)
