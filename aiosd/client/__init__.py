"""The client library: `Client` blocks, `AsyncClient` awaits.

::

    with Client() as client:
        outcome = client.run("You have won!", expert="sms-spam")
        print(outcome.output["label"], outcome.usage.run_ms)
        for piece in client.stream(text="Tell me more.", task="text.generate", max_tokens=200):
            print(piece, end="", flush=True)

    async with AsyncClient() as client:
        answers = await asyncio.gather(*(client.run(image=path) for path in paths))

What a request may hold is in `question.Ask`; every error is a `domain.errors.AiosdError`.
"""

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
