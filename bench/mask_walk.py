"""Random outputs of a mask: every one of them is something a model could have said."""

import random

import numpy as np

from insource.decode.mask import Mask, Vocabulary

CLOSING = frozenset(b'"}],0123456789')


class Walker:
    """Draws outputs; `closing` is how often a token that helps to end is preferred."""

    def __init__(self, vocabulary: Vocabulary, end: int, *, closing: float, seed: int, limit: int = 3000) -> None:
        self.vocabulary, self.end, self.closing, self.limit = vocabulary, end, closing, limit
        self.dice = random.Random(seed)  # noqa: S311 - seeded on purpose
        pieces = vocabulary.pieces(range(vocabulary.size))
        self.closers = np.array([bool(piece) and CLOSING.issuperset(piece) for piece in pieces])

    def say(self, mask: Mask) -> str | None:
        """One whole output, None when it did not end."""
        said: list[int] = []
        while len(said) < self.limit:
            said += mask.forced()
            if mask.done:
                return self.text(said)
            allowed = mask.allowed()
            hurry = self.dice.random() < (self.closing if len(said) < self.limit // 2 else 0.98)
            if allowed[self.end] and hurry:
                return self.text(said)
            allowed[self.end] &= not np.delete(allowed, self.end).any()
            narrow = allowed & self.closers
            token = int(self.dice.choice(np.flatnonzero(narrow if hurry and narrow.any() else allowed)))
            if token == self.end:
                return self.text(said)
            mask.advance(token)
            said.append(token)
        return None

    def text(self, tokens: list[int]) -> str:
        """What the tokens spell."""
        return b"".join(self.vocabulary.pieces(tokens)).decode("utf-8")
