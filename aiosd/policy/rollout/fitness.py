"""Whether a release may come onto this board at all, before anything of it is loaded."""

from collections.abc import Iterator

from aiosd.domain.release import Requires

_MIB = 2**20


def unfit(
    requires: Requires, *, arch: str, page_bytes: int, room_bytes: int, cap_watts: float
) -> Iterator[str]:
    """Yield what the board lacks, a sentence each.

    `room_bytes` is the most that one expert may ever have, `cap_watts` the owner's cap (0: none).
    """
    if requires.arch and arch not in requires.arch:
        yield f"it is for {', '.join(requires.arch)}, and this is {arch}"
    if requires.page_bytes and page_bytes not in requires.page_bytes:
        sizes = ", ".join(map(str, requires.page_bytes))
        yield f"it was tested with pages of {sizes} bytes, and here they have {page_bytes}"
    if requires.ram_peak_bytes > room_bytes:
        yield (
            f"it needs {requires.ram_peak_bytes / _MIB:.1f} MiB, and an expert can have "
            f"{room_bytes / _MIB:.1f} MiB here"
        )
    if cap_watts and requires.power_watts > cap_watts:
        yield f"it takes {requires.power_watts:g} W, and the cap is {cap_watts:g} W"
