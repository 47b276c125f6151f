"""What is trained: the adapters of a body, and what else a kind of task needs beside them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from insource.engines.prefix import Prefix
from insource.train.lora import Adapted
from insource.train.ranks import ALONE, Ranks
from insource.train.rows import Row


class Seen(NamedTuple):
    """What was found on some dev rows: `right` of `asked`, and `nll` nats over `told`. Those of all shares add up."""

    right: float
    asked: float
    nll: float
    told: float


class Model(ABC):
    """The adapters of a body that reads rows behind `prefix`; `end` is the token that fills up short rows.

    `ranks` are the processes that train a copy of it each, together.
    """

    ranks: Ranks = ALONE

    def __init__(self, prefix: Prefix, adapters: list[Adapted], *, end: int) -> None:
        self.prefix, self.adapters, self.end = prefix, adapters, end

    @property
    def body(self) -> Any:
        """The transformer without its vocabulary head."""
        return self.prefix.body

    @property
    def device(self) -> Any:
        """Where it computes."""
        return next(self.body.parameters()).device

    @property
    def own(self) -> list[Any]:
        """The trained tensors beside the adapters, in a fixed order."""
        return []

    @property
    def parameters(self) -> list[Any]:
        """Every trained tensor, in a fixed order."""
        return [p for adapted in self.adapters for p in (adapted.a, adapted.b)] + self.own

    def begin(self, seed: int) -> None:
        """Puts every trained tensor back to where a run with this seed begins."""
        generator = torch.Generator().manual_seed(seed)
        for adapted in self.adapters:
            adapted.begin(generator)

    def take(self, tensors: Sequence[Any]) -> None:
        """Sets the trained tensors to these; adapters take the rank of what they are given."""
        factors = iter(tensors)
        for adapted in self.adapters:
            adapted.take(next(factors), next(factors))
        with torch.no_grad():
            for parameter in self.own:
                parameter.copy_(next(factors))
        self.refresh()

    def refresh(self) -> None:
        """Brings every merged weight up to date, and forgets what was computed with the old ones."""
        for adapted in self.adapters:
            adapted.refresh()
        self.prefix.renew()

    @abstractmethod
    def loss(self, rows: Sequence[Row], batch: Sequence[Row]) -> Any:
        """What `rows` add to the loss of `batch`, of which they are a share: a scalar with its graph."""

    def check(self, dev: Sequence[Row]) -> dict[str, float]:
        """On the dev rows, each rank reading its share: `accuracy`, the part that is right, and `nll`, nats each."""
        own = self.ranks.share(dev)
        seen = Seen(*self.ranks.total(self.seen(own) if own else (0.0, 0.0, 0.0, 0.0), self.device))
        return {"accuracy": seen.right / seen.asked, "nll": seen.nll / seen.told}

    @abstractmethod
    def seen(self, dev: Sequence[Row]) -> Seen:
        """What is found on these dev rows, at least one."""

    @abstractmethod
    def counted(self, dev: Sequence[Row]) -> str:
        """What `accuracy` is a share of, in words."""
