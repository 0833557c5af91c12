"""How near another token came while a text was written: what a check of the answer goes by.

Read from the logits that are there for each token anyway, in plain Python: for a vocabulary of a
thousand tokens that takes some 20 microseconds a token, for 150,000 some milliseconds; it is done
only where a package has such a check.
"""

import ctypes
import math
from array import array
from collections.abc import Callable

from aiosd.engines.llama_library import lib


class Watched:
    """Picks tokens as `pick` does, and keeps the least margin; `TextEnd` says what that is."""

    def __init__(self, pick: Callable[[], int], context: int, vocab: int) -> None:
        """Watch the tokens that are picked from the last logits of a context."""
        self._pick, self._context = pick, context
        self._count = int(lib.llama_vocab_n_tokens(vocab))
        self.least = 1.0

    def pick(self) -> int:
        """Return the next token."""
        # Read before: a sampler may leave its marks on them.
        at = ctypes.cast(lib.llama_get_logits_ith(self._context, -1), ctypes.c_void_p)
        logits = array("f", ctypes.string_at(at, 4 * self._count))
        token = self._pick()
        own = logits[token]
        logits[token] = -math.inf
        self.least = min(self.least, 1.0 / (1.0 + math.exp(min(700.0, max(logits) - own))))
        return token
