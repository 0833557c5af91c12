"""The client library: `Client` blocks, `AsyncClient` awaits."""

from typing import TYPE_CHECKING

from aiosd.client.sync import Client

if TYPE_CHECKING:
    from aiosd.client.aio import AsyncClient

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    """Import `AsyncClient` when it is asked for: asyncio would double a command line's start."""
    if name == "AsyncClient":
        from aiosd.client.aio import AsyncClient  # noqa: PLC0415 -- late on purpose, see above

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
