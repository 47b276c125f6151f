"""Which tokens may come next. `Mask` is the seam; the grammar one runs on llguidance.

Knows tokens, not models: an engine asks for the allowed tokens, picks one, and says which.
"""

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from insource.decode.stack import on_a_deep_stack
from insource.errors import Invalid, OutputInvalid

FULL = re.compile("too many (states|expressions)")


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


class _Compiled:
    """A grammar under a vocabulary. Its walks share a lexer, which remembers every state any of them has met.

    That is what makes masks cheap, but what is remembered grows to `limits`: then it is made anew, empty.
    """

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        self._vocabulary, self._grammar = vocabulary, grammar
        self._lock = threading.Lock()
        self.matcher: Any = self._make()
        self.matcher.compute_bitmask()  # some grammars show only here what they would cost
        if self.matcher.is_error():
            raise Invalid(
                f"the schema is too complex to decode by: {_said(self.matcher)}",
                hint="split the task or simplify its schema",
            )

    def instead_of(self, full: Any) -> Any:
        """The matcher that took the place of `full`, made now when nobody has."""
        with self._lock:
            if self.matcher is full:
                self.matcher = self._make()
            return self.matcher

    def _make(self) -> Any:
        from llguidance import LLMatcher

        return on_a_deep_stack(lambda: LLMatcher(self._vocabulary.tokens, self._grammar, log_level=0, limits=limits()))


class GrammarMask:
    """The mask of a grammar of `decode.grammar`. Raises `Invalid` when it is too complex for this tokenizer."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        self._vocabulary = vocabulary
        self._compiled = _Compiled(vocabulary, grammar)
        self._begin(self._compiled.matcher)

    def _begin(self, base: Any) -> None:
        self._base = base
        self._matcher: Any = base.deep_copy()
        self._matcher.reset()
        self._taken: list[int] = []

    def start(self) -> "GrammarMask":
        """A fresh walk of the same grammar; cheap, the compiled grammar is shared."""
        fresh = object.__new__(GrammarMask)
        fresh._vocabulary, fresh._compiled = self._vocabulary, self._compiled
        fresh._begin(self._compiled.matcher)
        return fresh

    def takes(self, tokens: Sequence[int]) -> bool:
        """Whether `tokens` spell a whole output of the grammar."""
        walk = self.start()
        try:
            for token in tokens:
                walk.advance(token)
        except OutputInvalid:
            return False
        return walk.whole

    def allowed(self) -> NDArray[np.bool_]:
        """One bool per token of the vocabulary."""
        bits = np.frombuffer(self._ask(lambda matcher: matcher.compute_bitmask()), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary.size].astype(np.bool_)

    def advance(self, token: int) -> None:
        """Takes one token."""
        self._ask(lambda matcher: matcher.consume_token(token))
        self._taken.append(token)

    def forced(self) -> list[int]:
        """The tokens every continuation begins with, taken."""
        tokens = [int(token) for token in self._ask(lambda matcher: matcher.compute_ff_tokens())]
        if tokens:
            self._ask(lambda matcher: matcher.consume_tokens(tokens))
            self._taken += tokens
        return tokens

    @property
    def done(self) -> bool:
        """Whether the grammar allows nothing more."""
        return bool(self._matcher.is_stopped())

    @property
    def whole(self) -> bool:
        """Whether the output may end here."""
        return bool(self._matcher.is_accepting())

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """The matcher's answer. Where its lexer is full, another's that has come as far."""
        found = question(self._matcher)
        if self._matcher.is_error() and FULL.search(_said(self._matcher)):
            taken = self._taken
            self._begin(self._compiled.instead_of(self._base))
            self._matcher.consume_tokens(taken)
            self._taken = taken
            found = question(self._matcher)
        if self._matcher.is_error():
            raise OutputInvalid(
                f"decoding left the grammar: {_said(self._matcher)}", hint="simplify the schema's patterns"
            )
        return found


def _said(matcher: Any) -> str:
    """What a matcher has to complain about, its first line."""
    return str(matcher.get_error()).strip().split("\n")[0][:200]
