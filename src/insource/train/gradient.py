"""The gradient of one batch, its rows shared out among ranks, and a rank's among threads.

On a CPU two half batches side by side, one a core, are through a little sooner than one batch whose every product is
spread over both (docs/decisions/0007). Shares are cut and summed in the batch's order, so a step is the same each time.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import torch

from insource.train.model import Model
from insource.train.ranks import even
from insource.train.rows import Row

TOKENS_A_SHARE = 128


class Gradient:
    """Sets the gradients of `model`. Ends its threads when left."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.threads = torch.get_num_threads() if model.device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown()
            torch.set_num_threads(self.threads)

    def of(self, batch: Sequence[Row]) -> float:
        """Brings the merged weights up to date, sets every gradient, and gives the loss."""
        self.model.refresh()
        shares = _shares(self.model.ranks.share(batch), self.threads)
        if len(shares) == 1:
            done = [self._share(shares[0], batch)]
        else:
            self._pool = self._pool or ThreadPoolExecutor(self.threads)
            each = max(1, self.threads // len(shares))
            done = list(self._pool.map(lambda share: self._aside(share, batch, each), shares))
        summed = [sum(found[1:], start=found[0]) for found in zip(*(gradients for _, gradients in done), strict=True)]
        loss, *whole = self.model.ranks.add([torch.tensor(sum(loss for loss, _ in done)), *summed])
        for parameter, gradient in zip(self.model.parameters, whole, strict=True):
            parameter.grad = gradient.contiguous()  # the fused optimizer reads memory in order
        return float(loss)

    def _share(self, rows: Sequence[Row], whole: Sequence[Row]) -> tuple[float, Sequence[Any]]:
        """What these rows add to the loss of the `whole` batch, and to its gradients."""
        if not rows:  # the last batch of an epoch may have fewer rows than there are ranks
            return 0.0, [torch.zeros_like(parameter) for parameter in self.model.parameters]
        loss = self.model.loss(rows, whole)
        return float(loss.detach()), torch.autograd.grad(loss, self.model.parameters)

    def _aside(self, rows: Sequence[Row], whole: Sequence[Row], threads: int) -> tuple[float, Sequence[Any]]:
        """The same on a thread of the pool, whose products take `threads` cores: the batch decides, not its history."""
        torch.set_num_threads(threads)
        return self._share(rows, whole)


def _shares(batch: Sequence[Row], threads: int) -> list[Sequence[Row]]:
    """The batch in as many even shares as there are threads, none too small to be worth one."""
    count = max(1, min(threads, len(batch), sum(len(row.ids) for row in batch) // TOKENS_A_SHARE))
    return even(batch, count)
