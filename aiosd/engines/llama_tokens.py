"""Text ⇄ tokens of a GGUF model, where the user's words never become control tokens."""

import ctypes

from aiosd.domain.errors import InvalidError
from aiosd.domain.prepared import TextPrompt
from aiosd.engines.llama_library import lib


class Tokens:
    """The vocabulary of one loaded model."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab
        self._buffer = ctypes.create_string_buffer(256)

    def of(self, prompt: TextPrompt, limit: int, *, room: int) -> list[int]:
        """Return the prompt's tokens, which with `room` more must fit in `limit`.

        Raises:
            InvalidError: there are too many, or none.
        """
        found = self._split(prompt, limit) if prompt.special else self._read(prompt, limit)
        if len(found) + room > limit:
            raise InvalidError(
                f"the text has {len(found)} tokens with its prompt; the expert takes "
                f"{limit - room}: send less text",
                field="input",
                needed_tokens=len(found) + room,
                limit_tokens=limit,
            )
        if not found:
            raise InvalidError("there is no token in the text", field="input")
        return found

    def ends(self, token: int) -> bool:
        """Tell whether a token ends the text."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes a token stands for; a control token stands for none."""
        size = lib.llama_token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, 0)
        if size < 0:
            self._buffer = ctypes.create_string_buffer(-size)
            return self.bytes_of(token)
        return self._buffer.raw[:size]

    def _read(self, prompt: TextPrompt, limit: int) -> list[int]:
        return self._tokens(prompt.text, limit, first=prompt.add_bos, special=prompt.special)

    def _split(self, prompt: TextPrompt, limit: int) -> list[int]:
        """Read control tokens in the template's text only.

        Where the user's words hold none, the whole is read in one go, as the model was trained to
        see it; else piece by piece.
        """
        words = [prompt.text[start:end] for start, end in prompt.literal]
        if all(
            self._tokens(word, limit, first=False, special=False)
            == self._tokens(word, limit, first=False, special=True)
            for word in words
        ):
            return self._read(prompt, limit)
        found: list[int] = []
        at = 0
        for start, end in (*prompt.literal, (len(prompt.text), len(prompt.text))):
            for text, special in ((prompt.text[at:start], True), (prompt.text[start:end], False)):
                first = prompt.add_bos and not found
                if text:
                    found += self._tokens(text, limit, first=first, special=special)
            at = end
        return found

    def _tokens(self, text: str, limit: int, *, first: bool, special: bool) -> list[int]:
        """Return a text's tokens; of one with more than `limit`, zeros in the right number."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise InvalidError(f"the text is not Unicode: {error}", field="input.text") from error
        array = (lib.llama_token * limit)()
        count = int(lib.llama_tokenize(self._vocab, data, len(data), array, limit, first, special))
        return list(array[:count]) if count >= 0 else [0] * -count
