"""Reads every output of encoded rows with llama.cpp: what `engines.readout.Reader` answers, without torch.

llama.cpp reads the rows as texts to embed and gives the hidden state at the last token of each, where the model would
say its next token. Times the label rows that is every label's logit, exact and from one pass. What it has computed of a
row's beginning stays, so the line before the texts, and a row whose next output is asked, are not read again.

It runs inside this process. Its library opens a web server all the same: that one gets a socket in a folder of its own,
which is gone before the first row is read, and a key that nobody knows.
"""

import os
import secrets
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from insource.errors import EngineDown

Rows = NDArray[Any]
BODY, LABELS, ROWS = "model.gguf", "labels.safetensors", "rows"
SLOTS = 8
BATCH_TOKENS = 512


class _Embedding(msgspec.Struct, frozen=True):
    embedding: str
    index: int


class _Said(msgspec.Struct, frozen=True):
    data: tuple[_Embedding, ...] = ()
    error: dict[str, Any] = {}


class LlamacppReader:
    """`before` are the ids every row begins with, `tokens` the ids that labels have in the vocabulary, an output each.

    `longest` is the most tokens of a row in all. Raises `EngineDown` without xllamacpp or with a file it cannot load.
    """

    def __init__(
        self, folder: Path, before: Sequence[int], tokens: Sequence[Sequence[int]], *, longest: int, threads: int = 0
    ) -> None:
        self._before, self._tokens = list(before), [list(ids) for ids in tokens]
        cuts = np.cumsum([len(ids) for ids in tokens])[:-1]
        self._rows = [np.ascontiguousarray(rows.T) for rows in np.split(_label_rows(folder / LABELS), cuts)]
        self._server = _server(folder / BODY, longest + len(tokens), threads or _cores())

    def logits(self, encoded: Sequence[Sequence[int]]) -> list[Rows]:
        """Per output float32 [rows, labels]; a later output follows the likeliest earlier label."""
        found = [np.empty((len(encoded), len(ids)), np.float32) for ids in self._tokens]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        # of several outputs no more rows at once than are kept, so that each is found again for its next output
        size = SLOTS if len(found) > 1 else max(len(order), 1)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            rows = [self._before + list(encoded[i]) for i in batch]
            for output, logits in enumerate(found):
                logits[batch] = self._states(rows) @ self._rows[output]
                said = logits[batch].argmax(1)
                rows = [[*row, self._tokens[output][label]] for row, label in zip(rows, said, strict=True)]
        return found

    def _states(self, rows: Sequence[Sequence[int]]) -> Rows:
        """The hidden state at the end of each row, float32 [rows, width]."""
        asked = {"input": rows, "embd_normalize": -1, "encoding_format": "base64"}
        said = msgspec.json.decode(self._server.handle_embeddings(msgspec.json.encode(asked)), type=_Said)
        if len(said.data) != len(rows):
            raise EngineDown(f"llama.cpp could not read a text: {said.error.get('message', 'no reason given')}")
        ordered = sorted(said.data, key=lambda one: one.index)
        return np.stack([np.frombuffer(b64decode(one.embedding), np.float32) for one in ordered])


def _label_rows(path: Path) -> Rows:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[llamacpp]'") from error
    try:
        rows: Rows = load_file(path)[ROWS]
    except (SafetensorError, OSError, KeyError) as error:
        raise EngineDown(f"{path} has no readable label rows: {error}") from error
    return rows


def _server(path: Path, longest: int, threads: int) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[llamacpp]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    params.n_parallel, params.kv_unified, params.n_ctx = SLOTS, True, SLOTS * longest
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.offline, params.ui, params.endpoint_slots, params.warmup = True, False, False, False
    params.cache_ram_mib, params.fit_params, params.verbosity = 0, False, -1
    params.api_keys = [secrets.token_hex(32)]
    with tempfile.TemporaryDirectory(prefix="insource-") as hidden:
        params.hostnames = [f"{hidden}/llamacpp.sock"]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineDown(f"{path} cannot be loaded by llama.cpp: {error}") from error


def _cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
