"""The client library: `Client` blocks, `AsyncClient` awaits."""

from aiosd.client.sync import Client

__all__ = ["Client"]
