"""A language model that writes, computed by OpenVINO: `engines.base_model_net.Body`, sooner than torch on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from insource.engines.base_model_net import GRAPH, window_of
from insource.engines.openvino_graph import HEAD
from insource.engines.openvino_library import library
from insource.engines.openvino_reader import OPTIONS
from insource.errors import EngineDown

EXACT = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}


class OpenvinoBody:
    """The two graphs that `openvino_graph.convert_writer` made, in `folder`, with the model's config.json.

    Raises `EngineDown` without openvino or with a graph that cannot be loaded.
    """

    device = "cpu"

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        from transformers import AutoConfig

        more = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        body, head = self._compiled(folder / GRAPH, OPTIONS | more), self._compiled(folder / HEAD, EXACT | more)
        self._body, self._head = body.create_infer_request(), head.create_infer_request()
        self.width: int = head.outputs[0].get_partial_shape()[1].get_length()
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.window = window_of(config.get_text_config())
        shape = body.outputs[1].get_partial_shape()
        self._layers, self._heads, self._each = len(body.outputs) // 2, shape[1].get_length(), shape[3].get_length()

    def forward(self, cache: Any, ids: Any, positions: Any, sees: Any) -> Any:
        """As `Body` says."""
        import torch

        past = [states.contiguous().numpy() for layer in cache.layers for states in (layer.keys, layer.values)]
        if not past:
            past = [np.zeros((len(ids), self._heads, 0, self._each), np.float32)] * (2 * self._layers)
        given = [ids.numpy(), positions.contiguous().numpy(), sees[:, None].contiguous().numpy(), *past]
        hidden, *new = (torch.from_numpy(one) for one in self._body.infer(given, share_inputs=True).values())
        for layer in range(self._layers):
            cache.update(new[2 * layer], new[2 * layer + 1], layer)
        return hidden

    def logits(self, hidden: Any) -> Any:
        """Float32 logits [..., width] of hidden states [..., d]."""
        import torch

        (found,) = self._head.infer([hidden.reshape(-1, hidden.shape[-1]).contiguous().numpy()]).values()
        return torch.from_numpy(found).reshape(*hidden.shape[:-1], self.width)

    def _compiled(self, graph: Path, options: dict[str, Any]) -> Any:
        try:
            return library("openvino").Core().compile_model(graph, "CPU", options)
        except RuntimeError as error:
            said = str(error).strip().splitlines()[-1][:200]
            raise EngineDown(f"the graph {graph} cannot be loaded: {said}") from error
