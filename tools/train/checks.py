"""How often an answer that a classifier is sure of is wrong: the `[check]` of its package.

The least score was chosen before anything was measured: where scores are calibrated, an answer of
`LEAST` and more is right four times of five at the worst, and far more often on the average.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.train import card

LEAST = 0.8


@dataclass(frozen=True)
class Checked:
    """Of so many answers on texts that nothing was learned from, how many pass, and pass wrong."""

    asked: int
    passed: int
    wrong: int
    data: str

    def table(self) -> str:
        """Return the table of the manifest."""
        return "\n".join(
            [
                "[check]",
                'kind = "score"',
                f"least = {LEAST}",
                f"passed = {self.passed}",
                f"wrong = {self.wrong}",
                f"data = {card.quote(self.data)}",
            ]
        )

    def figures(self) -> list[card.Measured]:
        """Return what the card says of it."""
        return [
            card.share(f"passes the check (score {LEAST})", self.passed, self.asked, self.data),
            card.share("wrong of what passes", self.wrong, self.passed, self.data),
        ]


def check(scores: NDArray[np.float32], right: NDArray[np.bool_], data: str) -> Checked:
    """Return how answers with these scores fare; of texts for nobody none is right."""
    sure = scores >= LEAST
    return Checked(len(scores), int(sure.sum()), int((sure & ~right).sum()), data)
