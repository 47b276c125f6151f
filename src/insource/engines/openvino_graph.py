"""Models as OpenVINO graphs. A trained body and its label rows: tokens and what came before them in, logits out.

    ids [B, T], places [B, T], mask [B, 1, T, P + T], read [B], then keys and values of the P before, layer by layer
    → logits [B, all labels] at position `read` of each row, then keys and values of all P + T

One graph reads the line before the text once, the rows behind it, and each further output behind the last. The mask is
given whole, because the one transformers makes does not convert.

A model that writes is two graphs: its body, which takes the same but `read`, and its vocabulary head.

    → hidden states [B, T, d], then keys and values of the T            hidden states [N, d] → logits [N, vocabulary]
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from insource.engines.artefact import Manifest
from insource.engines.base_model_net import GRAPH, VocabularyHead
from insource.engines.openvino_library import library
from insource.engines.readout import EAGER_TOKENS, load_body, load_causal
from insource.engines.specialist import head_rows
from insource.errors import EngineDown

HEAD = "head.xml"
ROWS, LENGTH, BEFORE = 3, 7, 5  # of the example that is traced, where every size is open


def convert(model: Path, manifest: Manifest, folder: Path, *, weights: str = "") -> None:
    """Writes the graph of the trained model in `model` into `folder`.

    `weights` names how nncf keeps them ("INT8_ASYM", "INT4_SYM", …), "" keeps 16 bits. Raises `EngineDown` without
    openvino, nncf or torch, or when this kind of model cannot be converted; OSError.
    """
    with _converting(folder) as (openvino, torch):
        fused = EAGER_TOKENS + 1  # fused attention takes the graph's mask of true and false
        body = load_body(model, device="cpu", dtype=torch.float32, longest=fused)
        rows = head_rows(model, [head.tokens for head in manifest.heads], "cpu")
        read = torch.full((ROWS,), LENGTH - 1)
        made = openvino.convert_model(_net(body, rows), example_input=_example(body.config, read))
        openvino.save_model(_compressed(made, weights), folder / GRAPH)


def convert_writer(model: Path, folder: Path, *, weights: str = "") -> None:
    """Writes body and vocabulary head of the causal language model in `model` into `folder`.

    The head keeps 16 bits whatever `weights` says: the probabilities of what is written are its products. Raises as
    `convert`.
    """
    with _converting(folder) as (openvino, torch):
        whole = load_causal(model, device="cpu", dtype=torch.float32, longest=EAGER_TOKENS + 1)
        body, head = whole.base_model, VocabularyHead(whole, exact=True)
        made = openvino.convert_model(_net(body, None), example_input=_example(body.config))
        openvino.save_model(_compressed(made, weights), folder / GRAPH)
        hidden = torch.zeros(ROWS, head.layer.weight.shape[1])
        openvino.save_model(openvino.convert_model(_head(head), example_input=hidden), folder / HEAD)


@contextlib.contextmanager
def _converting(folder: Path) -> Iterator[tuple[Any, Any]]:
    """The libraries openvino and torch, for what writes into `folder`; a model they cannot take is `EngineDown`."""
    openvino = library("openvino")
    try:
        import torch
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train,openvino]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on shapes; the graph is compared with the model afterwards
            yield openvino, torch
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0][:200]
        hint = "is there room on the disk? Not every kind of model can be converted"
        raise EngineDown(f"no OpenVINO graph could be made of this model: {said}", hint=hint) from error


def _compressed(graph: Any, weights: str) -> Any:
    """The graph with smaller weights. In 4 bits at most 64 share a scale, and embeddings and labels stay in 8."""
    if not weights:
        return graph
    nncf = library("nncf")
    nncf.set_log_level(logging.ERROR)
    mode, options = nncf.CompressWeightsMode[weights], {}
    if not weights.startswith("INT8"):
        fewer = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
        options = {"group_size": 64, "ratio": 1.0, "advanced_parameters": fewer}
    with contextlib.redirect_stdout(sys.stderr):  # it draws there, where a caller may expect JSON
        return nncf.compress_weights(graph, mode=mode, **options)


def _cache(past: Sequence[Any]) -> Any:
    """Keys and values, layer by layer, that are only ever put behind others: `all` of them, and what is `new`."""
    import torch
    from transformers import DynamicCache

    class Before(DynamicCache):
        def __init__(self) -> None:
            self.all: list[Any] = []
            self.new: list[Any] = []
            self.layers: list[Any] = []

        def update(self, key: Any, value: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
            both = [torch.cat([old, new], 2) for old, new in zip(self._of(layer_idx), (key, value), strict=True)]
            self.all += both
            self.new += [key, value]
            return both[0], both[1]

        def get_seq_length(self, layer_idx: int = 0) -> Any:
            return self._of(layer_idx)[0].shape[2]

        def _of(self, layer: int) -> Sequence[Any]:
            return past[2 * layer : 2 * layer + 2]

    return Before()


def _net(body: Any, rows: Sequence[Any] | None) -> Any:
    """The body as a module that takes the past as it is; with label `rows` it gives their logits, else hidden states.

    Beside logits it gives all keys and values, beside hidden states those of its own tokens.
    """
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            if rows is not None:
                self.register_buffer("rows", torch.cat(list(rows)).float())

        def forward(self, ids: Any, places: Any, mask: Any, *rest: Any) -> tuple[Any, ...]:
            before = _cache(rest if rows is None else rest[1:])
            out = self.body(
                input_ids=ids, position_ids=places, attention_mask=mask, past_key_values=before, use_cache=True
            )
            if rows is None:
                return (out.last_hidden_state, *before.new)
            at = out.last_hidden_state[torch.arange(ids.shape[0]), rest[0]]
            return (at @ self.rows.T, *before.all)

    return Net().eval()


def _head(head: VocabularyHead) -> Any:
    import torch

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = head.layer

        def forward(self, hidden: Any) -> Any:
            return head(hidden)

    return Head().eval()


def _example(config: Any, *read: Any) -> tuple[Any, ...]:
    """Inputs of the right kinds; every size but heads and width of a head is left open."""
    import torch

    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    places = torch.arange(BEFORE, BEFORE + LENGTH)[None].expand(ROWS, LENGTH)
    mask = torch.ones(ROWS, 1, LENGTH, BEFORE + LENGTH, dtype=torch.bool)
    past = [torch.zeros(ROWS, heads, BEFORE, width) for _ in range(2 * config.num_hidden_layers)]
    return torch.zeros(ROWS, LENGTH, dtype=torch.long), places, mask, *read, *past
