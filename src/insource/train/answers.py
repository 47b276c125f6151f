"""What an extract task trains: the adapters under the base's own vocabulary head, the loss on the answer's tokens."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from insource.engines.base_model_net import VocabularyHead
from insource.engines.prefix import Prefix
from insource.engines.readout import by_length, pad
from insource.train.lora import Adapted
from insource.train.model import Model, Seen
from insource.train.rows import Row


class AnswerModel(Model):
    """A body with its own frozen vocabulary head, whose next tokens are learned."""

    def __init__(self, prefix: Prefix, adapters: list[Adapted], head: VocabularyHead, *, end: int) -> None:
        super().__init__(prefix, adapters, end=end)
        self.head = head

    def loss(self, rows: Sequence[Row], batch: Sequence[Row]) -> Any:
        """Cross-entropy on the tokens of the answers, in nats a token of the batch."""
        logits, targets, _ = self._scored(rows, together=True)
        total = sum(len(row.ids) - 1 - row.read for row in batch)
        return functional.cross_entropy(logits, targets, reduction="sum") / total

    def seen(self, dev: Sequence[Row]) -> Seen:
        """Fields that would be written to the letter after the right beginning, and the nats of the answers' tokens."""
        self.refresh()
        right = fields = tokens = 0
        nll = 0.0
        with torch.inference_mode():
            for batch in by_length([len(row.ids) for row in dev]):
                rows = [dev[i] for i in batch]
                logits, targets, owners = self._scored(rows, together=False)
                nll += float(functional.cross_entropy(logits, targets, reduction="sum"))
                tokens += len(targets)
                hits = (logits.argmax(1) == targets).cpu()
                for number, row in enumerate(rows):
                    own = hits[owners == number]
                    bounds = [0, *(part - row.read - 1 for part in row.parts)]
                    right += sum(bool(own[low:high].all()) for low, high in pairwise(bounds))
                    fields += len(row.parts)
        return Seen(right, fields, nll, tokens)

    def counted(self, dev: Sequence[Row]) -> str:
        """Fields of answers; an answer without any counts as one."""
        return f"{sum(len(row.parts) for row in dev)} dev fields"

    def _scored(self, rows: Sequence[Row], *, together: bool) -> tuple[Any, Any, Any]:
        """Logits [n, vocabulary] before each token of each answer, that token [n], and the row it is of [n]."""
        ids, _ = pad([row.ids for row in rows], self.end, str(self.device))
        hidden = self.prefix.together(ids) if together else self.prefix.read(ids).last_hidden_state
        owners = torch.cat([torch.full((len(row.ids) - 1 - row.read,), i) for i, row in enumerate(rows)])
        places = torch.cat([torch.arange(row.read, len(row.ids) - 1) for row in rows])
        return self.head(hidden[owners, places]), ids[owners, places + 1], owners
