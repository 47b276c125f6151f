"""A causal language model as scoring and writing need it: tokens into a KV cache, hidden states and logits out.

Attention masks and positions are explicit, so a cache may hold padding, a shared prefix and the branches of a tree.
"""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

from insource.decode.labels import Trie
from insource.engines.base_model_cache import roomy_cache
from insource.engines.readout import EAGER_TOKENS, load_causal, pick_device, pick_dtype, ready

PREFIXES, GRAPH = 8, "model.xml"


class Body(Protocol):
    """What computes: on `device`, `window` tokens at most; `logits` are float32 [..., width] of hidden [..., d]."""

    device: str
    window: int
    width: int

    def forward(self, cache: Any, ids: Any, positions: Any, sees: Any) -> Any:
        """Hidden states [B, q, d] of `ids` [B, q], which enter the cache. `sees` [B, q, slots] is who attends whom."""

    def logits(self, hidden: Any) -> Any:
        """Of hidden states."""


class Network:
    """The weights, computed by the engine that they were made for.

    `window` is how many tokens it can see, `width` how many its vocabulary head scores.

    Raises `EngineDown` when the engine or the files are missing.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        ready(threads)
        made_over = (folder / GRAPH).is_file()
        self.body: Body = _openvino(folder, threads) if made_over else TorchBody(folder)
        self.device, self.window, self.width = self.body.device, self.body.window, self.body.width
        self.forward, self.logits = self.body.forward, self.body.logits
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[Any, Any]]] = OrderedDict()

    def cache(self, prefix: tuple[int, ...], rows: int) -> Any:
        """A KV cache for `rows` texts that all begin with `prefix`, which is computed once and kept."""
        if not prefix:
            return roomy_cache()
        if prefix not in self._prefixes:
            self._prefixes[prefix] = self._read(prefix)
        self._prefixes.move_to_end(prefix)
        while len(self._prefixes) > PREFIXES:
            self._prefixes.popitem(last=False)
        return roomy_cache(self._prefixes[prefix], rows)

    def _read(self, prefix: tuple[int, ...]) -> list[tuple[Any, Any]]:
        import torch

        cache = roomy_cache()
        ids = torch.tensor([prefix], device=self.device)
        sees = torch.ones(1, len(prefix), len(prefix), dtype=torch.bool, device=self.device).tril()
        self.forward(cache, ids, torch.arange(len(prefix), device=self.device)[None], sees)
        return [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]


def _openvino(folder: Path, threads: int) -> Body:
    from insource.engines.openvino_body import OpenvinoBody

    return OpenvinoBody(folder, threads=threads)


def window_of(config: Any) -> int:
    """The tokens that a model of this transformers configuration can see."""
    sizes = (getattr(config, "max_position_embeddings", None), getattr(config, "sliding_window", None))
    return min([int(size) for size in sizes if size] or [4096])


class TorchBody:
    """The safetensors of `folder` in torch. Raises `EngineDown` when they are missing."""

    def __init__(self, folder: Path) -> None:
        self.device = pick_device()
        # who attends whom is a table of its own here, which plain attention does not take
        self.model = load_causal(folder, device=self.device, dtype=pick_dtype(self.device), longest=EAGER_TOKENS + 1)
        self.window = window_of(self.model.config.get_text_config())
        # bfloat16 keeps 8 bits: a logit of 20 would be rounded to eighths, and its label's probability with it
        self.logits = VocabularyHead(self.model, exact=self.device == "cpu")
        self.width = self.logits.width

    def forward(self, cache: Any, ids: Any, positions: Any, sees: Any) -> Any:
        """As `Body` says."""
        out = self.model.base_model(
            input_ids=ids, position_ids=positions, attention_mask=sees[:, None], past_key_values=cache, use_cache=True
        )
        return out.last_hidden_state


class VocabularyHead:
    """From final hidden states to next-token logits, with the scale and the softcap that some models have.

    `exact` computes in float32 whatever the weights are. `width` is how many tokens are scored.
    """

    def __init__(self, model: Any, *, exact: bool) -> None:
        import torch

        head, config = model.get_output_embeddings(), model.config.get_text_config()
        self.width: int = head.weight.shape[0]
        self.layer = deepcopy(head).float() if exact and head.weight.dtype != torch.float32 else head
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )

    def __call__(self, hidden: Any) -> Any:
        """Float32 logits [..., width] of hidden states [..., d]."""
        scores = self.layer(hidden.to(self.layer.weight.dtype)).float()
        if self._scale != 1.0:
            scores = scores * self._scale
        return self._cap * (scores / self._cap).tanh() if self._cap else scores


class Session:
    """A batch of texts in one cache, all beginning with `prefix`.

    `visible` [B, slots] says which slots of the cache hold a row's text (the others are padding); `lengths` [B] counts
    each row's tokens, which is the position of its next one.
    """

    def __init__(self, network: Network, prefix: tuple[int, ...], rows: int) -> None:
        import torch

        self.network = network
        self.cache = network.cache(prefix, rows)
        self.visible = torch.ones(rows, len(prefix), dtype=torch.bool, device=network.device)
        self.lengths = torch.full((rows,), len(prefix), device=network.device)
        self.last: Any = None

    def read(self, texts: Sequence[Sequence[int]], trees: Sequence[Trie] = ()) -> tuple[Any, Any]:
        """Appends each row's tokens; gives the hidden state after each row's last token [B, d].

        With `trees` also those of every inner node of each row's tree [B, nodes, d], as if the text went on along the
        tree. Trees leave no trace. Rows may all be empty, to try other trees after the same text.
        """
        import torch

        device = self.network.device
        width = max(map(len, texts))
        ids = torch.zeros(len(texts), width, dtype=torch.long)
        real = torch.zeros(len(texts), width, dtype=torch.bool)
        for i, text in enumerate(texts):
            ids[i, width - len(text) :] = torch.tensor(text, dtype=torch.long)
            real[i, width - len(text) :] = True
        ids, real = ids.to(device), real.to(device)
        positions = self.lengths[:, None] + (real.cumsum(1) - 1).clamp(min=0)
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        own = causal & real[:, None, :] | torch.eye(width, dtype=torch.bool, device=device)
        lengths = self.lengths + real.sum(1)
        if trees:
            ids, positions, own = _with_trees(ids, positions, own, real, lengths, trees)
        past = self.visible[:, None].expand(-1, ids.shape[1], -1)
        hidden = self.network.forward(self.cache, ids, positions, torch.cat([past, own], 2))
        self.visible, self.lengths = torch.cat([self.visible, real], 1), lengths
        if trees:
            self.cache.crop(width - ids.shape[1])
        self.last = hidden[:, width - 1] if width else self.last
        return self.last, hidden[:, width:]

    def keep(self, rows: Sequence[int]) -> None:
        """Drops every row but these."""
        import torch

        index = torch.tensor(list(rows), device=self.network.device)
        self.cache.batch_select_indices(index)
        self.visible, self.lengths, self.last = self.visible[index], self.lengths[index], self.last[index]


def _with_trees(ids: Any, positions: Any, own: Any, real: Any, lengths: Any, trees: Sequence[Trie]) -> Any:
    """The padded text with the inner nodes of every row's tree after it, each seeing the text and its ancestors."""
    import torch

    rows, width = ids.shape
    nodes = max(len(tree.inner) for tree in trees)
    tokens = torch.zeros(rows, nodes, dtype=torch.long)
    depths = torch.zeros(rows, nodes, dtype=torch.long)
    kin = torch.eye(nodes, dtype=torch.bool).repeat(rows, 1, 1)
    for i, tree in enumerate(trees):
        size = len(tree.inner)
        tokens[i, :size] = torch.tensor([tree.tokens[node] for node in tree.inner], dtype=torch.long)
        depths[i, :size] = torch.tensor([tree.depths[node] for node in tree.inner], dtype=torch.long)
        kin[i, :size, :size] = torch.from_numpy(tree.kinship)
    device = ids.device
    sees = torch.zeros(rows, width + nodes, width + nodes, dtype=torch.bool, device=device)
    sees[:, :width, :width] = own
    sees[:, width:, :width] = real[:, None, :]
    sees[:, width:, width:] = kin.to(device)
    ids = torch.cat([ids, tokens.to(device)], 1)
    return ids, torch.cat([positions, lengths[:, None] + depths.to(device)], 1), sees
