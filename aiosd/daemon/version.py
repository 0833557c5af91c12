"""The version of the daemon."""


def own_version() -> str:
    """Return the version of the installed package."""
    from importlib.metadata import (  # noqa: PLC0415 - a tenth of the time to READY
        PackageNotFoundError,
        version,
    )

    try:
        return version("aiosd")
    except PackageNotFoundError:
        return "unknown"
