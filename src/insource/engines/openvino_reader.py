"""Reads every output of encoded rows with OpenVINO: what `engines.readout.Reader` answers, sooner and without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insource.engines.base_model_net import GRAPH
from insource.engines.openvino_library import library
from insource.engines.readout import by_length
from insource.errors import EngineDown

Rows = NDArray[Any]
# activations to 8 bits in groups of 64; only where the weights are kept in 8 or fewer
OPTIONS = {"PERFORMANCE_HINT": "LATENCY", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "64"}
PADDING = 128  # tokens that take about as long as another pass


class OpenvinoReader:
    """`before` are the ids every row begins with, `tokens` the ids that labels have in the vocabulary, an output each.

    Raises `EngineDown` without openvino or with a graph that cannot be loaded.
    """

    def __init__(
        self, folder: Path, before: Sequence[int], tokens: Sequence[Sequence[int]], *, end: int, threads: int = 0
    ) -> None:
        openvino = library("openvino")
        options = OPTIONS | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        try:
            compiled = openvino.Core().compile_model(folder / GRAPH, "CPU", options)
        except RuntimeError as error:
            said = str(error).strip().splitlines()[-1][:200]
            raise EngineDown(f"the graph in {folder} cannot be loaded: {said}") from error
        self._request = compiled.create_infer_request()
        self.end, self.tokens = end, [np.array(ids) for ids in tokens]
        self._cuts = np.cumsum([len(ids) for ids in tokens])[:-1]
        shapes = [states.get_partial_shape() for states in compiled.outputs[1:]]
        empty = [np.zeros((1, shape[1].get_length(), 0, shape[3].get_length()), np.float32) for shape in shapes]
        self._begun = len(before)
        self._before = empty
        if before:
            ids = np.array([before])
            _, kept = self._read(ids, np.arange(ids.shape[1])[None], _causal(0, ids.shape[1]), ids[:, 0] * 0, empty)
            self._before = [states.copy() for states in kept]

    def logits(self, encoded: Sequence[Sequence[int]]) -> list[Rows]:
        """Per output float32 [rows, labels]; a later output follows the likeliest earlier label."""
        found = [np.empty((len(encoded), len(ids)), np.float32) for ids in self.tokens]
        for batch in by_length([len(row) for row in encoded], padding=PADDING):
            for output, logits in enumerate(self._batch([encoded[i] for i in batch])):
                found[output][batch] = logits
        return found

    def _batch(self, encoded: Sequence[Sequence[int]]) -> list[Rows]:
        lengths = np.array([len(row) for row in encoded])
        count, width, begun = len(encoded), int(lengths.max()), self._begun
        ids = np.full((count, width), self.end)
        for i, row in enumerate(encoded):
            ids[i, : len(row)] = row
        places = np.broadcast_to(np.arange(begun, begun + width), ids.shape)
        mask = np.broadcast_to(_causal(begun, width), (count, 1, width, begun + width))
        past = [np.broadcast_to(states, (count, *states.shape[1:])) for states in self._before]
        logits, past = self._read(ids, places, mask, lengths - 1, past)
        seen = np.arange(-begun, width)[None] < lengths[:, None]
        found = []
        for output, tokens in enumerate(self.tokens):
            found.append(np.split(logits, self._cuts, axis=1)[output].copy())
            if output + 1 == len(self.tokens):
                break
            chosen = tokens[found[-1].argmax(1)][:, None]
            seen = np.concatenate([seen, np.ones((count, 1), bool)], 1)
            places = (begun + lengths + output)[:, None]
            logits, past = self._read(chosen, places, seen[:, None, None], lengths * 0, past)
        return found

    def _read(self, ids: Rows, places: Rows, mask: Rows, read: Rows, past: Sequence[Rows]) -> tuple[Rows, list[Rows]]:
        """Logits of all labels at `read`, and the states of everything read so far; both until the next call."""
        given = [np.ascontiguousarray(one) for one in (ids, places, mask, read, *past)]
        # inputs are copied: some are outputs of the last call, whose memory this one writes
        logits, *present = self._request.infer(given, share_inputs=False, share_outputs=True).values()
        return logits, present


def _causal(begun: int, width: int) -> Rows:
    """[1, 1, width, begun + width]: each token sees what came before it and itself."""
    return np.tril(np.ones((width, begun + width), bool), begun)[None, None]
