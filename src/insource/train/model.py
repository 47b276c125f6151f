"""What is trained: the adapters of a body, and the heads it is read through."""

from collections.abc import Sequence
from typing import Any

import torch

from insource.engines.readout import Reader
from insource.train.head import Head
from insource.train.lora import Adapted


class Model:
    """What is trained: the adapters of a body, and the heads it is read through, one an output."""

    def __init__(self, body: Any, adapters: list[Adapted], heads: list[Head], reader: Reader) -> None:
        self.body, self.adapters, self.heads, self.reader = body, adapters, heads, reader

    @property
    def parameters(self) -> list[Any]:
        """Every trained tensor, in a fixed order."""
        return [p for adapted in self.adapters for p in (adapted.a, adapted.b)] + [h.values for h in self.heads]

    def begin(self, seed: int) -> None:
        """Puts every trained tensor back to where a run with this seed begins."""
        generator = torch.Generator().manual_seed(seed)
        for adapted in self.adapters:
            adapted.begin(generator)
        for head in self.heads:
            head.begin()

    def take(self, tensors: Sequence[Any]) -> None:
        """Sets the trained tensors to these; adapters take the rank of what they are given."""
        factors = iter(tensors)
        for adapted in self.adapters:
            adapted.take(next(factors), next(factors))
        with torch.no_grad():
            for head in self.heads:
                head.values.copy_(next(factors))
        self.refresh()

    def refresh(self) -> None:
        """Brings every merged weight up to date, and what the reader reads with."""
        for adapted in self.adapters:
            adapted.refresh()
        self.reader.prefix.renew()
        self.reader.rows = [head.rows for head in self.heads]
