"""The built-in steps that a package may name in its pipelines: their parameters, and nothing else.

A manifest holds a list of `pre` steps (input → what the engine takes) and `post` steps (what the
engine gives → answer). Each step here is data; `aiosd.pipelines` holds the code that runs it, and
no code ever comes from a package. The text in `file` fields names a file of the package.

Shapes are without the batch axis; `n` is the number of windows that one input falls into.
"""

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="step"):
    """What all steps share: the key `step` holds the name."""
