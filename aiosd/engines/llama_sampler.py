"""How the next token is picked: llama.cpp's samplers in a chain, with a grammar that cannot abort.

llama.cpp aborts the process when a grammar is made to accept a token it forbids, so here a token
is shown to the grammar before it is accepted. That also makes it fast: only where the freely
picked token is forbidden does the grammar look at the whole vocabulary. The answer's distribution
is the same as masking first: P(t free) + P(forbidden) · P(t | allowed) = P(t | allowed).
"""

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiosd.domain.errors import InvalidError
from aiosd.domain.request import Sampling
from aiosd.engines.gbnf import Grammar
from aiosd.engines.llama_library import journal, lib

_PENALTY_WINDOW = 64
# An ambiguous grammar costs llama.cpp time that grows with the power of a token's length, and the
# call cannot be interrupted; what is past this is refused before the next token makes it worse.
PATIENCE_SECONDS = 1.0
_ONE = (lib.llama_token_data * 1)()
_RANDOM_SEED = 0xFFFF_FFFF  # llama.h: LLAMA_DEFAULT_SEED, a seed of the library's own choice


@dataclass(frozen=True)
class Choice:
    """Checked sampling settings; what neither request nor manifest says is as in llama.cpp."""

    max_tokens: int | None = None
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int = _RANDOM_SEED

    @property
    def sure(self) -> bool:
        """Whether nothing is left to chance, and each token counts as the model says."""
        return self.temperature == 0.0 and self.repeat_penalty == 1.0

    @classmethod
    def of(cls, sampling: Sampling) -> "Choice":
        """Check what is asked for.

        Raises:
            InvalidError: a value is outside its range; `field` names it.
        """
        given = {
            name: value
            for name in cls.__dataclass_fields__
            if (value := getattr(sampling, name)) is not None
        }
        for name, value in given.items():
            low, high = _RANGES[name]
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidError(
                    f"{name} is {value}; it must lie between {low} and {high}",
                    field=f"options.sampling.{name}",
                )
        # The library's seed has no sign, and one number stands for "any": -1.
        return cls(**{**given, "seed": given.get("seed", _RANDOM_SEED) & _RANDOM_SEED})


_RANGES: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 1_048_576),
    "temperature": (0.0, 100.0),
    "top_k": (0, 1_048_576),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.01, 100.0),
    "seed": (-(2**31), _RANDOM_SEED),
}


class Picker:
    """Picks the tokens of one answer; `pick()` returns the next, already accepted.

    `grammar` is checked by `aiosd.engines.gbnf`; `prompt` feeds the repeat penalty.

    Raises:
        InvalidError: llama.cpp does not take the grammar.
    """

    def __init__(
        self,
        context: int,
        vocab: int,
        choice: Choice,
        prompt: Sequence[int],
        grammar: Grammar | None,
    ) -> None:
        self._context = context
        self._chains: list[int] = []
        self._kept: list[object] = []
        self._field = grammar.field if grammar else ""
        self._penalties = self._make_penalties(vocab, choice, prompt)
        self._grammar = self._make_grammar(vocab, grammar) if grammar is not None else None
        self.pick: Callable[[], int]
        if self._grammar is None:
            chain = self._chain([self._penalties, *_choosers(choice)])
            sample = lib.llama_sampler_sample
            self.pick = lambda: int(sample(chain, context, -1))
        else:
            self._free = self._chain([self._muted(self._penalties), *_choosers(choice)])
            self._bound = self._chain([self._muted(self._grammar), self._muted(self._free)])
            self.pick = self._pick_allowed

    def close(self) -> None:
        """Free what the library holds."""
        for sampler in reversed(self._chains):
            lib.llama_sampler_free(sampler)
        self._chains.clear()
        self._kept.clear()

    def _pick_allowed(self) -> int:
        start = time.thread_time()
        token = int(lib.llama_sampler_sample(self._free, self._context, -1))
        if not allows(self._grammar, token):
            token = int(lib.llama_sampler_sample(self._bound, self._context, -1))
            if not allows(self._grammar, token):
                raise InvalidError(
                    "the grammar came to a place that no token of this model can continue",
                    field=self._field,
                )
        lib.llama_sampler_accept(self._grammar, token)
        if (spent := time.thread_time() - start) > PATIENCE_SECONDS:
            raise InvalidError(
                f"the grammar took {spent:.1f} s for one token: too many of its alternatives match "
                "the same text; make them differ at their first character",
                field=self._field,
            )
        if self._penalties:
            lib.llama_sampler_accept(self._penalties, token)
        return token

    def _chain(self, samplers: Sequence[Any]) -> int:
        """Make a chain that owns `samplers`."""
        params = lib.llama_sampler_chain_default_params()
        params.no_perf = True
        chain = lib.llama_sampler_chain_init(params)
        for sampler in samplers:
            if sampler:
                lib.llama_sampler_chain_add(chain, sampler)
        self._chains.append(chain)
        return chain  # type: ignore[no-any-return]

    def _make_penalties(self, vocab: int, choice: Choice, prompt: Sequence[int]) -> Any:  # noqa: ANN401 -- ctypes
        if choice.repeat_penalty == 1.0:
            return None
        penalties = lib.llama_sampler_init_penalties(
            lib.llama_vocab_n_tokens(vocab), _PENALTY_WINDOW, choice.repeat_penalty, 0.0, 0.0
        )
        for token in prompt[-_PENALTY_WINDOW:]:
            lib.llama_sampler_accept(penalties, token)
        return penalties

    def _make_grammar(self, vocab: int, grammar: Grammar) -> Any:  # noqa: ANN401 -- ctypes
        made = grammar_sampler(vocab, grammar)
        self._chains.append(made)
        return made

    def _muted(self, sampler: Any) -> Any:  # noqa: ANN401 -- ctypes
        """Wrap a sampler so that a chain applies it but never makes it accept or frees it."""
        if not sampler:
            return None
        apply = lib.llama_sampler_apply
        muted = Muted(lambda array: apply(sampler, array))
        self._kept.append(muted)
        return muted.sampler


class Muted:
    """A sampler for a chain that calls `apply` with the tokens, and does nothing else.

    It is to live as long as the chain.
    """

    def __init__(self, apply: Callable[[Any], None]) -> None:
        self._iface = lib.llama_sampler_i()
        self._iface.apply = lib.llama_sampler_i_apply(lambda _self, array: apply(array))
        self.sampler: Any = lib.llama_sampler_init(ctypes.byref(self._iface), None)


def grammar_sampler(vocab: int, grammar: Grammar) -> Any:  # noqa: ANN401 -- ctypes
    """Return the sampler of a checked grammar.

    Raises:
        InvalidError: llama.cpp does not take it.
    """
    journal.clear()
    made = lib.llama_sampler_init_grammar(vocab, grammar.text.encode(), b"root")
    if not made:
        raise InvalidError(
            f"llama.cpp refuses the grammar: {journal.reason()}", field=grammar.field
        )
    return made


def allows(grammar: Any, token: int) -> bool:  # noqa: ANN401 -- ctypes
    """Ask a grammar about one token."""
    _ONE[0].id = token
    _ONE[0].logit = 0.0
    array = lib.llama_token_data_array(ctypes.cast(_ONE, lib.llama_token_data_p), 1, -1, 0)
    lib.llama_sampler_apply(grammar, ctypes.byref(array))
    return not math.isinf(_ONE[0].logit)


def _choosers(choice: Choice) -> list[Any]:
    """Return the samplers that narrow the choice and make it, in llama.cpp's order."""
    if choice.temperature == 0.0:
        return [lib.llama_sampler_init_greedy()]
    made = []
    if choice.top_k:
        made.append(lib.llama_sampler_init_top_k(choice.top_k))
    if choice.top_p < 1.0:
        made.append(lib.llama_sampler_init_top_p(choice.top_p, 1))
    if choice.min_p > 0.0:
        made.append(lib.llama_sampler_init_min_p(choice.min_p, 1))
    made.append(lib.llama_sampler_init_temp(choice.temperature))
    made.append(lib.llama_sampler_init_dist(choice.seed))
    return made
