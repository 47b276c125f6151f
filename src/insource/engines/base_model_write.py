"""Writing token by token under a mask, many rows at once; what the mask forces is taken without asking the model.

The probability of a token is the model's, renormalised over the tokens the mask allows; a forced token has 1.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

from insource.decode.closing import Closer
from insource.decode.mask import Mask, Vocabulary
from insource.engines.base_model_net import Network, Session
from insource.errors import EngineDown, EngineSlow, InsourceError
from insource.nouns import Finish

FEW = 0.5


@dataclass
class Draft:
    """One answer being written: what it may say, how to choose, and what it has said so far.

    `logs[i]` is the log-probability of `tokens[i]`. `mask` None allows every token that is no control token. `bounded`
    says that `limit` is ours: an answer under a mask is then closed within it, as within every other bound of ours,
    and ends as "stop". Where the caller set the limit it is closed too, and ends as "length".
    """

    mask: Mask | None
    limit: int
    bounded: bool = False
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    deadline: float = 60.0
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    finish: Finish | None = None
    error: InsourceError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be written."""
        return self.finish is not None or self.error is not None


class Writer:
    """Writes drafts. `ends` are the tokens that end an answer, `controls` those no answer may hold."""

    def __init__(self, network: Network, vocabulary: Vocabulary, ends: Sequence[int], controls: frozenset[int]) -> None:
        self.network, self.vocabulary, self.ends = network, vocabulary, frozenset(ends)
        self._free = np.ones(network.width, dtype=np.bool_)
        self._free[[token for token in controls if token < network.width]] = False
        self._free[list(self.ends)] = True
        self._closer = Closer(vocabulary, ends)

    def write(
        self, prefix: tuple[int, ...], texts: Sequence[Sequence[int]], drafts: Sequence[Draft], halt: threading.Event
    ) -> None:
        """Writes every draft to its end, in place; row i begins with `prefix` and `texts[i]`. `halt` stops it.

        Rows with much forced text catch up over several passes, so that the others need not wait for them padded.
        """
        start = time.monotonic()
        session = Session(self.network, prefix, len(texts))
        dice = [self._dice(draft) for draft in drafts]
        rows = list(range(len(drafts)))
        fed: list[list[int]] = [self._forced(draft, list(text)) for draft, text in zip(drafts, texts, strict=True)]
        while True:
            alive = [i for i, row in enumerate(rows) if not drafts[row].over]
            if halt.is_set():
                for i in alive:
                    drafts[rows[i]].error = EngineDown("the engine is closed")
            if not alive or halt.is_set():
                return
            if len(alive) <= len(rows) * FEW and session.last is not None:
                session.keep(alive)
                rows, fed = [rows[i] for i in alive], [fed[i] for i in alive]
                alive = list(range(len(rows)))
            width = -(-sum(map(len, fed)) // len(alive))
            hidden, _ = session.read([waiting[:width] for waiting in fed])
            fed = [waiting[width:] for waiting in fed]
            ready = [i for i in alive if not fed[i]]
            logits = self.network.logits(hidden[ready]).cpu()
            for scores, i in zip(logits, ready, strict=True):
                fed[i] = self._step(drafts[rows[i]], scores, dice[rows[i]], time.monotonic() - start)

    def text(self, draft: Draft) -> str:
        """What the draft says, without the token that ended it."""
        return b"".join(self.vocabulary.pieces(draft.tokens)).decode("utf-8", "replace")

    def _dice(self, draft: Draft) -> Any:
        import torch

        generator = torch.Generator()
        generator.manual_seed(draft.seed if draft.seed is not None else time.time_ns() % 2**63)
        return generator

    def _forced(self, draft: Draft, text: list[int]) -> list[int]:
        """`text` and whatever the answer must begin with."""
        try:
            forced = draft.mask.forced() if draft.mask else []
        except InsourceError as error:
            draft.error = error
            return text
        draft.tokens += forced
        draft.logs += [0.0] * len(forced)
        self._settle(draft)
        return [] if draft.over else text + forced

    def _step(self, draft: Draft, scores: Any, dice: Any, elapsed: float) -> list[int]:
        """Chooses one token, takes what it forces, and gives what is to be read next."""
        if elapsed > draft.deadline:
            draft.error = EngineSlow(f"no answer within {draft.deadline:g} s; it had {len(draft.tokens)} tokens")
            return []
        try:
            token, log = self._choose(draft, scores, dice)
            if token in self.ends:
                draft.finish = "stop"
                return []
            if draft.mask:
                draft.mask.advance(token)
        except InsourceError as error:
            draft.error = error
            return []
        draft.tokens.append(token)
        draft.logs.append(log)
        return self._forced(draft, [token])

    def _choose(self, draft: Draft, scores: Any, dice: Any) -> tuple[int, float]:
        """The token and its log-probability among those allowed, at temperature 1."""
        import torch

        allowed = torch.from_numpy(np.flatnonzero(draft.mask.allowed() if draft.mask else self._free))
        logs = scores[allowed].double().log_softmax(0)
        if draft.temperature > 0:
            place = int(torch.multinomial((logs / draft.temperature).softmax(0), 1, generator=dice))
        else:
            place = int(logs.argmax())
        return int(allowed[place]), float(logs[place])

    def _settle(self, draft: Draft) -> None:
        """Ends the draft when its grammar is complete, a stop text has come, or it has reached its limit."""
        whole = (draft.mask and draft.mask.done) or any(stop in self.text(draft) for stop in draft.stop)
        if whole and len(draft.tokens) <= draft.limit:  # what a grammar forces comes at once, and may pass the limit
            draft.finish = "stop"
        elif len(draft.tokens) >= draft.limit:
            self._close(draft)

    def _close(self, draft: Draft) -> None:
        """Ends a draft that has no room left; what the model did not choose has probability 0."""
        draft.finish = "length"
        found = self._closer.close(draft.mask, draft.tokens, draft.limit) if draft.mask else None
        if found and found[1]:  # what may end anywhere was cut, there was nothing to close
            kept, way = found
            draft.tokens[kept:], draft.logs[kept:] = way, [-inf] * len(way)
            draft.finish = "stop" if draft.bounded else "length"
