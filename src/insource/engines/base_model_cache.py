"""A KV cache with room to grow: tokens are written in place instead of copying all that came before at each step."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

SPARE = 128


def roomy_cache(kept: Sequence[tuple[Any, Any]] = (), rows: int = 1) -> Any:
    """A transformers cache for `rows` texts that begin with `kept`: per layer keys and values [1, heads, n, d]."""
    from transformers import Cache

    kind = _layer()
    if not kept:
        return Cache(layer_class_to_replicate=kind)
    layers = [kind() for _ in kept]
    for layer, (keys, values) in zip(layers, kept, strict=True):
        layer.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
    return Cache(layers=layers)


@lru_cache(maxsize=1)
def _layer() -> Any:
    import torch
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed
        """Keys and values [rows, heads, n, d] as views of larger tensors, which are replaced when full."""

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            """Writes the new states behind the old ones and gives them all."""
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
                self.rooms: list[Any] = [None, None]
            both = ((self.keys, key_states), (self.values, value_states))
            self.keys, self.values = (self._write(i, old, new) for i, (old, new) in enumerate(both))
            return self.keys, self.values

        def _write(self, which: int, old: Any, new: Any) -> Any:
            start, stop = old.shape[2], old.shape[2] + new.shape[2]
            room = self.rooms[which]
            if room is None or room.data_ptr() != old.data_ptr() or room.shape[0] != len(new) or room.shape[2] < stop:
                room = torch.empty(
                    *new.shape[:2], stop + stop // 4 + SPARE, new.shape[3], dtype=new.dtype, device=new.device
                )
                room[:, :, :start] = old
                self.rooms[which] = room
            room[:, :, start:stop] = new
            return room[:, :, :stop]

    return RoomyLayer
