"""Which tokens may come next. `Mask` is the seam; the grammar one runs on llguidance.

Knows tokens, not models: an engine asks for the allowed tokens, picks one, and says which.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from insource.decode.stack import on_a_deep_stack
from insource.errors import Invalid, OutputInvalid


class Mask(Protocol):
    """A walk through the outputs that are allowed. One object follows one output; `start` begins another."""

    def start(self) -> "Mask":
        """A fresh walk at the beginning of the output."""
        ...

    def allowed(self) -> NDArray[np.bool_]:
        """For every token of the vocabulary whether it may come next; the end token is one of them."""
        ...

    def advance(self, token: int) -> None:
        """Takes one allowed token. Raises `OutputInvalid` for another."""
        ...

    def forced(self) -> list[int]:
        """The tokens that must come next whatever is chosen, already taken; often none."""
        ...

    @property
    def done(self) -> bool:
        """Whether the output is whole and nothing but the end may follow."""
        ...


class Vocabulary:
    """A tokenizer as masks need it: the bytes of every token. Takes a second to build; share one per model.

    `definition` is the text of tokenizer.json, `size` the width of the model's logits, `ends` the tokens that end an
    output.
    """

    def __init__(self, definition: str, *, size: int, ends: Sequence[int]) -> None:
        from llguidance import LLTokenizer

        try:
            self.tokens = LLTokenizer(definition, n_vocab=size, eos_token=list(ends))
        except ValueError as error:
            raise Invalid(f"the model's tokenizer cannot be used with grammars: {error}") from error
        self.size = size

    def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes each token stands for."""
        return [bytes(self.tokens.decode_bytes([token])) for token in tokens]


def limits() -> Any:
    """What llguidance may spend on one grammar: some 0.4 s to build it, 100 MB for its states, 15 ms a mask."""
    from llguidance import LLParserLimits

    return LLParserLimits(
        max_items_in_row=15_000, initial_lexer_fuel=800_000, max_lexer_states=50_000, step_max_items=300_000
    )


class GrammarMask:
    """The mask of a grammar of `decode.grammar`. Raises `Invalid` when it is too complex for this tokenizer."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        from llguidance import LLMatcher

        self._vocabulary = vocabulary
        made = on_a_deep_stack(lambda: LLMatcher(vocabulary.tokens, grammar, log_level=0, limits=limits()))
        self._matcher: Any = made
        self._matcher.compute_bitmask()  # some grammars show only here what they would cost
        if self._matcher.is_error():
            said = self._matcher.get_error().strip().split("\n")[0][:200]
            raise Invalid(
                f"the schema is too complex to decode by: {said}", hint="split the task or simplify its schema"
            )

    def start(self) -> "GrammarMask":
        """A fresh walk of the same grammar; cheap, the compiled grammar is shared."""
        fresh = object.__new__(GrammarMask)
        fresh._vocabulary = self._vocabulary
        fresh._matcher = self._matcher.deep_copy()
        fresh._matcher.reset()
        return fresh

    def takes(self, tokens: Sequence[int]) -> bool:
        """Whether `tokens` spell a whole output of the grammar."""
        walk = self._matcher.deep_copy()
        walk.reset()
        return bool(walk.try_consume_tokens(list(tokens)) == len(tokens) and walk.is_accepting())

    def allowed(self) -> NDArray[np.bool_]:
        """One bool per token of the vocabulary."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary.size].astype(np.bool_)

    def advance(self, token: int) -> None:
        """Takes one token."""
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """The tokens every continuation begins with, taken."""
        tokens = [int(token) for token in self._matcher.compute_ff_tokens()]
        if tokens:
            self._matcher.consume_tokens(tokens)
            self._check()
        return tokens

    @property
    def done(self) -> bool:
        """Whether the grammar allows nothing more."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            said = self._matcher.get_error().strip().split("\n")[0][:200]
            raise OutputInvalid(f"decoding left the grammar: {said}", hint="simplify the schema's patterns")
