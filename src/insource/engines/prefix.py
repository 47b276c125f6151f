"""What every row begins with, computed once for all of them instead of once a row (prefix caching)."""

from collections.abc import Sequence
from typing import Any


class Prefix:
    """A body that reads rows behind the same tokens `ids`. Their keys and values are kept until `renew`.

    Attention is causal, so the hidden states are those of whole rows. With gradients on, the kept states belong to one
    backward pass: `renew` before each.
    """

    def __init__(self, body: Any, ids: Sequence[int]) -> None:
        self.body, self.ids = body, list(ids)
        self._kept: list[tuple[Any, Any]] = []

    def renew(self) -> None:
        """Forgets the states: the weights have changed."""
        self._kept = []

    def read(self, ids: Any) -> Any:
        """The body's output for `ids` [B, T]: hidden states [B, T, d], and a cache of the prefix and these."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.body.config)
        for layer, (keys, values) in enumerate(self._states(ids.device)):
            rows = (len(ids), -1, -1, -1)
            cache.update(keys.expand(rows), values.expand(rows), layer)
        return self.body(input_ids=ids, past_key_values=cache, use_cache=True)

    def _states(self, device: Any) -> list[tuple[Any, Any]]:
        import torch

        if self.ids and not self._kept:
            out = self.body(input_ids=torch.tensor([self.ids], device=device), use_cache=True)
            self._kept = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return self._kept
