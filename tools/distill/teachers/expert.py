"""An expert of a running daemon as a teacher, by name: a larger one that the board cannot keep."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiosd.client import Client
from aiosd.domain.errors import AiosdError, BusyError, InvalidError
from tools.distill.fault import NonsenseError, TeacherError, UnansweredError
from tools.distill.table import Input

# The probability of all labels together that the expert did not name among its best.
UNSPOKEN = 1e-3


class ExpertTeacher:
    """Asks one text at a time; the probabilities of `top` are its answer."""

    batch = 1

    def __init__(self, client: Client, name: str, labels: Sequence[str]) -> None:
        """Ask the daemon which release it is.

        Raises:
            TeacherError: there is no such expert.
        """
        self._client, self._name = client, name
        self._places = {label: at for at, label in enumerate(labels)}
        try:
            shown = client.show(name)
        except AiosdError as error:
            raise TeacherError(f"{name}: {error}") from None
        self.fingerprint = f"expert {name} release {shown.get('release', '?')}"

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels).

        Raises:
            UnansweredError: the daemon could not answer this time.
            NonsenseError: the answer has no `top` of the recipe's labels.
        """
        return np.stack([self._one(str(each)) for each in inputs])

    def _one(self, text: str) -> NDArray[np.float32]:
        try:
            output = self._client.run(text=text, expert=self._name).output
        except (InvalidError, BusyError) as error:
            raise UnansweredError(str(error)) from None
        except AiosdError as error:
            raise UnansweredError(str(error)) from None
        shares = np.full(len(self._places), UNSPOKEN / max(1, len(self._places)))
        top = output.get("top") if isinstance(output, dict) else None
        for each in top if isinstance(top, list) else []:
            at = self._places.get(str(each.get("label")))
            if at is not None:
                shares[at] += float(each.get("score", 0.0))
        if shares.sum() < 2 * UNSPOKEN:
            raise NonsenseError("no known label among its best")
        return np.log(shares / shares.sum()).astype(np.float32)
