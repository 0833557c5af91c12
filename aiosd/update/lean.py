"""Keeps libraries out of this process that others would load for things it never does."""

import sys

# securesystemslib loads it where it is installed: 8 MB, a fifth of all that this process may take.
# Without it only ed25519 is checked, in Python, 8 ms a signature; our publisher's keys are such.
HEAVY = ("cryptography",)


def keep_out() -> None:
    """Let imports of them fail as if they were not installed; what is loaded already stays."""
    for name in HEAVY:
        # Documented: None in sys.modules makes an import raise ModuleNotFoundError.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
