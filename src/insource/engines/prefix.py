"""What every row begins with, computed once for all of them instead of once a row (prefix caching)."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any


class Prefix:
    """A body that reads rows behind the same tokens `ids`. Their keys and values are kept until `renew`.

    Attention is causal, so the hidden states are those of whole rows; a sliding window must be longer than `ids`.
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

    def together(self, ids: Any) -> Any:
        """Hidden states [B, T, d] for `ids` [B, T]: prefix and rows as one sequence, whose every product is one.

        Keeps nothing, so threads may share it, and gradients reach the prefix. The body must have been through `pack`.
        """
        import torch

        (rows, width), begun = ids.shape, len(self.ids)
        one = torch.cat([ids.new_tensor(self.ids), ids.reshape(-1)])[None]
        behind = torch.arange(begun, begun + width, device=ids.device).repeat(rows)
        places = torch.cat([torch.arange(begun, device=ids.device), behind])[None]
        mask = _causal(begun + width, self.body.dtype, ids.device)
        packed = {"attention_mask": mask, "packed": (begun, rows)}
        out = self.body(input_ids=one, position_ids=places, use_cache=False, **packed)
        return out.last_hidden_state[0, begun:].reshape(rows, width, -1)

    def _states(self, device: Any) -> list[tuple[Any, Any]]:
        import torch

        if self.ids and not self._kept:
            out = self.body(input_ids=torch.tensor([self.ids], device=device), use_cache=True)
            self._kept = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return self._kept


def pack(body: Any) -> None:
    """Lets `body` read a prefix and the rows behind it as one sequence; whatever else it reads is read as before."""
    from transformers import AttentionInterface, AttentionMaskInterface

    inner = body.config._attn_implementation  # noqa: SLF001 - it has no public name
    name = f"packed_{inner}"
    AttentionInterface.register(name, partial(_attend, inner))
    AttentionMaskInterface.register(name, AttentionMaskInterface()[inner])
    body.set_attn_implementation(name)


def _attend(inner: str, module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
    """Attention over a packed sequence [1, heads, begun + rows * width, d]: the prefix to itself, each row to both.

    Returns states [1, begun + rows * width, heads, d] and no weights. To the scores is added `mask`, which is
    [1, 1, begun + width, begun + width].
    Without `packed` = (begun, rows) it is the inner attention.
    """
    import torch
    from transformers import AttentionInterface

    own = sys.modules[type(module).__module__].eager_attention_forward
    attend = AttentionInterface().get_interface(inner, own)
    begun, rows = options.pop("packed", (0, 0))
    if not rows:
        return attend(module, query, key, value, mask, **options)
    window = getattr(module, "sliding_window", None)
    if window and window < mask.shape[-1]:
        mask = mask + mask.transpose(-1, -2).tril(-window)
    found = []
    if begun:
        first = [part[:, :, :begun] for part in (query, key, value)]
        found = [attend(module, *first, mask[..., :begun, :begun], **options)[0]]
    behind = [_rows(query, begun, rows), *(_behind(part, begun, rows) for part in (key, value))]
    out, _ = attend(module, *behind, mask[..., begun:, :], **options)
    return torch.cat([*found, out.reshape(1, -1, *out.shape[2:])], 1), None


def _rows(part: Any, begun: int, rows: int) -> Any:
    """[1, heads, begun + rows * width, d] → [rows, heads, width, d]."""
    return part[0, :, begun:].unflatten(1, (rows, -1)).transpose(0, 1)


def _behind(part: Any, begun: int, rows: int) -> Any:
    """[1, heads, begun + rows * width, d] → [rows, heads, begun + width, d], the prefix before each row."""
    import torch

    return torch.cat([part[:, :, :begun].expand(rows, -1, -1, -1), _rows(part, begun, rows)], 2)


def _causal(length: int, dtype: Any, device: Any) -> Any:
    """[1, 1, length, length], 0 where a token may look and the least number of `dtype` right of it."""
    import torch

    return torch.full((1, 1, length, length), torch.finfo(dtype).min, dtype=dtype, device=device).triu(1)
