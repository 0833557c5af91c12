"""What an engine says to a prompt, all of it at once."""

from collections.abc import Callable

from aiosd.domain.prepared import Piece, TextEnd, TextPrompt
from aiosd.engines.engine import Engine


def run(
    engine: Engine, prompt: TextPrompt, cancelled: Callable[[], bool] = lambda: False
) -> list[Piece]:
    """Return all pieces."""
    return list(engine.run(prompt, cancelled=cancelled))


def write(engine: Engine, prompt: TextPrompt) -> TextEnd:
    """Return the end of the text."""
    end = run(engine, prompt)[-1]
    assert isinstance(end, TextEnd)
    return end
