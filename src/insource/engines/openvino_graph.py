"""A trained body and its label rows as one OpenVINO graph: tokens and what came before them in, logits out.

    ids [B, T], places [B, T], mask [B, 1, T, P + T], read [B], then keys and values of the P before, layer by layer
    → logits [B, all labels] at position `read` of each row, then keys and values of all P + T

One graph reads the line before the text once, the rows behind it, and each further output behind the last. The mask is
given whole, because the one transformers makes does not convert.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.engines.artefact import Manifest
from insource.engines.openvino_library import library
from insource.engines.readout import EAGER_TOKENS, load_body
from insource.engines.specialist import head_rows
from insource.errors import EngineDown

GRAPH = "model.xml"


def convert(model: Path, manifest: Manifest, folder: Path, *, weights: str = "") -> None:
    """Writes the graph of the trained model in `model` into `folder`.

    `weights` names how nncf keeps them ("INT8_ASYM", "INT4_SYM", …), "" keeps 16 bits. Raises `EngineDown` without
    openvino, nncf or torch, or when this kind of model cannot be converted; OSError.
    """
    openvino = library("openvino")
    try:
        import torch
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train,openvino]'") from error
    fused = EAGER_TOKENS + 1  # fused attention takes the graph's mask of true and false
    body = load_body(model, device="cpu", dtype=torch.float32, longest=fused)
    rows = head_rows(model, [head.tokens for head in manifest.heads], "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on shapes; the graph is compared with the model afterwards
            made = openvino.convert_model(_net(body, rows), example_input=_example(body.config))
        if weights:
            with contextlib.redirect_stdout(sys.stderr):  # it draws there, where a caller may expect JSON
                made = _compressed(made, weights)
        openvino.save_model(made, folder / GRAPH)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0][:200]
        raise EngineDown(f"{type(body).__name__} cannot be converted to OpenVINO: {said}") from error


def _compressed(graph: Any, weights: str) -> Any:
    """The graph with smaller weights. In 4 bits at most 64 share a scale, and embeddings and labels stay in 8."""
    nncf = library("nncf")
    nncf.set_log_level(logging.ERROR)
    mode = nncf.CompressWeightsMode[weights]
    if weights.startswith("INT8"):
        return nncf.compress_weights(graph, mode=mode)
    fewer = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
    return nncf.compress_weights(graph, mode=mode, group_size=64, ratio=1.0, advanced_parameters=fewer)


def _net(body: Any, rows: Sequence[Any]) -> Any:
    import torch
    from transformers import DynamicCache

    class Before(DynamicCache):
        """Keys and values that are only ever put behind others."""

        def __init__(self, past: Sequence[Any]) -> None:
            self.past = past
            self.present: list[Any] = []
            self.layers: list[Any] = []

        def update(self, key: Any, value: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
            both = [torch.cat([old, new], 2) for old, new in zip(self._of(layer_idx), (key, value), strict=True)]
            self.present += both
            return both[0], both[1]

        def get_seq_length(self, layer_idx: int = 0) -> Any:
            return self._of(layer_idx)[0].shape[2]

        def _of(self, layer: int) -> Sequence[Any]:
            return self.past[2 * layer : 2 * layer + 2]

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.register_buffer("rows", torch.cat(list(rows)).float())

        def forward(self, ids: Any, places: Any, mask: Any, read: Any, *past: Any) -> tuple[Any, ...]:
            before = Before(past)
            out = self.body(
                input_ids=ids, position_ids=places, attention_mask=mask, past_key_values=before, use_cache=True
            )
            at = out.last_hidden_state[torch.arange(ids.shape[0]), read]
            return (at @ self.rows.T, *before.present)

    return Net().eval()


def _example(config: Any) -> tuple[Any, ...]:
    """Inputs of the right kinds; every size but heads and width of a head is left open."""
    import torch

    rows, length, before = 3, 7, 5
    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    places = torch.arange(before, before + length)[None].expand(rows, length)
    mask = torch.ones(rows, 1, length, before + length, dtype=torch.bool)
    past = [torch.zeros(rows, heads, before, width) for _ in range(2 * config.num_hidden_layers)]
    return torch.zeros(rows, length, dtype=torch.long), places, mask, torch.full((rows,), length - 1), *past
