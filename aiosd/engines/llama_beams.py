"""The likeliest answer that a grammar allows, of a few that are followed side by side.

A greedy answer never takes a word back: where the grammar forbids what the model wanted to say, it
goes on with what the model finds unlikely. A beam search (Lowerre 1976) drops such a beginning for
another one that was nearly as likely. What is compared is the model's own probability of the whole
text, before any grammar. Each text is a sequence of its own in the context; they share the prompt.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiosd.domain.errors import CancelledError, InvalidError
from aiosd.engines.gbnf import Grammar
from aiosd.engines.llama_library import lib
from aiosd.engines.llama_sampler import PATIENCE_SECONDS, Muted, allows, grammar_sampler

HOPELESS = 4.0
"""A path this much less likely (natural logarithm) than the best is not followed."""
_LOOKED_AT = 32
"""How many of the likeliest tokens are shown to the grammar one by one, before all are."""


@dataclass
class Path:
    """A text being written: its tokens, their log probability, and where it is kept."""

    score: float
    tokens: list[int]
    grammar: Any
    sequence: int
    least: float
    """The least margin of its tokens, as `TextEnd` says it."""


@dataclass(frozen=True)
class _Step:
    """A token that may come next on a path."""

    score: float
    path: Path
    token: int
    least: float


class Beams:
    """Follows up to `width` texts; made for one request.

    Raises:
        InvalidError: llama.cpp does not take the grammar.
    """

    def __init__(self, context: int, vocab: int, width: int, grammar: Grammar) -> None:
        self._context, self._width = context, width
        self._field = grammar.field
        self._live = [Path(0.0, [], grammar_sampler(vocab, grammar), 0, 1.0)]
        self._batch = lib.llama_batch_init(width, 0, 1)
        self._chains: list[Any] = []
        self.ended = True
        self.least = 1.0
        self.score = -math.inf
        self._found: list[tuple[int, float]] = []
        self._grammar: Any = None
        # A chain frees its samplers, so each has its own.
        take, likeliest = Muted(self._take), Muted(self._take)
        bound = Muted(lambda array: lib.llama_sampler_apply(self._grammar, array))
        self._kept = (take, likeliest, bound)
        self._likeliest = self._chain([lib.llama_sampler_init_top_k(_LOOKED_AT), likeliest.sampler])
        self._allowed = self._chain(
            [bound.sampler, lib.llama_sampler_init_top_k(width), take.sampler]
        )

    def close(self) -> None:
        """Free what the library holds, and the sequences beside the first."""
        for sampler in (*self._chains, *(path.grammar for path in self._live)):
            lib.llama_sampler_free(sampler)
        self._chains, self._live = [], []
        lib.llama_batch_free(self._batch)
        memory = lib.llama_get_memory(self._context)
        for sequence in range(1, self._width):
            lib.llama_memory_seq_rm(memory, sequence, -1, -1)

    def run(
        self,
        prompt: int,
        limit: int,
        ends: Callable[[int], bool],
        decode: Callable[[Any], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[int]:
        """Yield the tokens of the likeliest text, each as soon as all that is followed has it.

        Begins with the logits of the prompt, which is `prompt` tokens long and in sequence 0. Ends
        with the text, or after `limit` tokens; then `ended`, `least` and `score` say how it went.

        Raises:
            CancelledError: `cancelled()` became true.
            InvalidError: the grammar lets nothing follow, or took too long.
        """
        best: Path | None = None
        room = int(lib.llama_n_ctx(self._context)) - prompt
        shown = 0
        while self._live:
            steps = self._steps()
            for step in steps:
                if ends(step.token) and (best is None or step.score > best.score):
                    best = Path(step.score, step.path.tokens, None, 0, step.least)
            least = max(steps[0].score - HOPELESS, best.score if best else -math.inf)
            on = [step for step in steps if step.score > least and not ends(step.token)]
            if sum(len(step.path.tokens) + 1 for step in on) > room:
                on = on[:1]
            self._follow(on, prompt)
            texts = [path.tokens for path in (*self._live, *((best,) if best else ()))]
            while all(len(text) > shown and text[shown] == texts[0][shown] for text in texts):
                yield texts[0][shown]
                shown += 1
            if cancelled():
                raise CancelledError("cancelled while answering")
            if self._live and len(self._live[0].tokens) >= limit:
                best, self.ended = self._live[0], False
                break
            if self._live:
                self._decode(prompt, decode)
        if best is not None:
            self.least, self.score = best.least, best.score
            yield from best.tokens[shown:]

    def _steps(self) -> list[_Step]:
        """Return the likeliest next tokens of all paths, at most `width`, the likeliest first."""
        started = time.thread_time()
        best: list[_Step] = []
        for row, path in enumerate(self._live):
            # The logits of the prompt are the last of what was read, those of the paths the only.
            if best and path.score < best[0].score - HOPELESS:
                break
            for token, score, least in self._next(path, row if path.tokens else -1):
                whole = path.score + score
                if len(best) == self._width and whole <= best[-1].score:
                    break
                best.append(_Step(whole, path, token, min(path.least, least)))
                best.sort(key=lambda step: -step.score)
                del best[self._width :]
        if not best:
            raise InvalidError(
                "the grammar came to a place that no token of this model can continue",
                field=self._field,
            )
        if (spent := time.thread_time() - started) > PATIENCE_SECONDS:
            raise InvalidError(
                f"the grammar took {spent:.1f} s for one token: too many of its alternatives match "
                "the same text; make them differ at their first character",
                field=self._field,
            )
        return best

    def _next(self, path: Path, row: int) -> Sequence[tuple[int, float, float]]:
        """Return what may follow: token, log probability, margin; the likeliest first."""
        self._found = []
        lib.llama_sampler_sample(self._likeliest, self._context, row)
        found = self._found
        top = found[0][1]
        whole = top + math.log(sum(math.exp(logit - top) for _, logit in found))
        second = found[1][1] if len(found) > 1 else -math.inf
        allowed: list[tuple[int, float]] = []
        for token, logit in found:
            if len(allowed) == self._width:
                break
            if allows(path.grammar, token):
                allowed.append((token, logit))
        if not allowed:
            self._grammar, self._found = path.grammar, []
            lib.llama_sampler_sample(self._allowed, self._context, row)
            allowed = [one for one in self._found if not math.isinf(one[1])]
        return [
            (token, logit - whole, _margin(logit, second if token == found[0][0] else top))
            for token, logit in allowed
        ]

    def _follow(self, steps: Sequence[_Step], prompt: int) -> None:
        """Go on with these paths alone, each with a sequence and a grammar of its own."""
        memory = lib.llama_get_memory(self._context)
        kept = {step.path.sequence for step in steps}
        free = [number for number in range(self._width) if number not in kept]
        for number in free:
            lib.llama_memory_seq_rm(memory, number, prompt, -1)
        taken: set[int] = set()
        grown: list[Path] = []
        for step in steps:
            path = step.path
            grammar, sequence = path.grammar, path.sequence
            if sequence in taken:
                sequence = free.pop()
                lib.llama_memory_seq_rm(memory, sequence, -1, -1)
                lib.llama_memory_seq_cp(memory, path.sequence, sequence, -1, -1)
            taken.add(path.sequence)
            if any(path.grammar == other.grammar for other in grown):
                grammar = lib.llama_sampler_clone(grammar)
            grown.append(
                Path(step.score, [*path.tokens, step.token], grammar, sequence, step.least)
            )
        for path in self._live:
            if all(path.grammar != other.grammar for other in grown):
                lib.llama_sampler_free(path.grammar)
        self._live = grown
        for path in grown:
            lib.llama_sampler_accept(path.grammar, path.tokens[-1])

    def _decode(self, prompt: int, decode: Callable[[Any], None]) -> None:
        """Read the last tokens of all paths."""
        batch = self._batch
        batch.n_tokens = len(self._live)
        for row, path in enumerate(self._live):
            batch.token[row] = path.tokens[-1]
            batch.pos[row] = prompt + len(path.tokens) - 1
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = path.sequence
            batch.logits[row] = 1
        decode(batch)

    def _take(self, array: Any) -> None:  # noqa: ANN401 -- ctypes
        """Note the tokens that are left and their logits."""
        content = array.contents
        self._found = [(content.data[at].id, content.data[at].logit) for at in range(content.size)]

    def _chain(self, samplers: Sequence[Any]) -> Any:  # noqa: ANN401 -- ctypes
        params = lib.llama_sampler_chain_default_params()
        params.no_perf = True
        chain = lib.llama_sampler_chain_init(params)
        for sampler in (*samplers, lib.llama_sampler_init_greedy()):
            lib.llama_sampler_chain_add(chain, sampler)
        self._chains.append(chain)
        return chain


def _margin(own: float, other: float) -> float:
    """Return a token's probability over its own and the other one's together."""
    return 1.0 / (1.0 + math.exp(min(700.0, other - own)))
