"""Ending an answer that has run out of room: back to where it can still be closed, then a short way out.

A grammar bounds every part of an answer, not their sum: a list of long texts can pass any limit, and cut there it is no
JSON at all. What is put in its place is chosen for its length and not by the model, so nobody should trust it.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from insource.decode.mask import Mask, Vocabulary

SHORTEST_FIRST = '}],":0123456789ntf[{.-+eE'
QUOTE, BACKSLASH = ord('"'), ord("\\")
LEAST_BACK = 8


class Closer:
    """Closes JSON answers written with the tokens of `vocabulary`; `ends` are the tokens that end an answer."""

    def __init__(self, vocabulary: Vocabulary, ends: Sequence[int]) -> None:
        self.vocabulary, self.ends = vocabulary, list(ends)

    def close(self, mask: Mask, tokens: Sequence[int], limit: int) -> tuple[int, list[int]] | None:
        """How many of `tokens` to keep and what to put after them, `limit` tokens in all at most: a whole answer.

        Goes back twice as far each time. None where even an answer without any of `tokens` would be longer.
        """
        back = LEAST_BACK
        while True:
            kept = max(0, min(len(tokens), limit) - back)
            way = self._way(mask.start(), tokens[:kept], limit - kept)
            if way is not None or kept == 0:
                return None if way is None else (kept, way)
            back *= 2

    def _way(self, mask: Mask, said: Sequence[int], room: int) -> list[int] | None:
        """The tokens that end an answer that begins with `said`; None when that takes more than `room`."""
        for token in said:
            mask.advance(token)
        state = _Place()
        state.read(self.vocabulary.pieces(said))
        way: list[int] = []
        while len(way) <= room:
            more = mask.forced()
            if not more and not mask.done:
                allowed = mask.allowed()
                if not allowed[self.ends].any():
                    more = [self._next(allowed, state)]
                    mask.advance(more[0])
            if not more:
                return way
            way += more
            state.read(self.vocabulary.pieces(more))
        return None

    def _next(self, allowed: NDArray[np.bool_], state: "_Place") -> int:
        """The token that leads out soonest, as far as one can see from here."""
        quote, others, filling = self._tables
        if not state.inside:
            return next((token for token in others if allowed[token]), int(allowed.argmax()))
        if allowed[quote]:
            return quote
        longest = int((filling * allowed).argmax())
        return longest if allowed[longest] else int(allowed.argmax())

    @cached_property
    def _tables(self) -> tuple[int, list[int], NDArray[np.int64]]:
        """The quote; what ends or begins a value soonest; how much of a text each token fills, 0 if it might end it."""
        pieces = self.vocabulary.pieces(range(self.vocabulary.size))
        numbers = {piece: token for token, piece in reversed(list(enumerate(pieces)))}
        filling = [0 if QUOTE in piece or BACKSLASH in piece else len(piece) for piece in pieces]
        others = [numbers[c.encode()] for c in SHORTEST_FIRST if c.encode() in numbers]
        return numbers[b'"'], others, np.array(filling)


class _Place:
    """Whether the JSON read so far ends inside a text."""

    def __init__(self) -> None:
        self.inside = self._escaped = False

    def read(self, pieces: Sequence[bytes]) -> None:
        for byte in b"".join(pieces):
            if self._escaped:
                self._escaped = False
            elif byte == BACKSLASH:
                self._escaped = self.inside
            elif byte == QUOTE:
                self.inside = not self.inside
