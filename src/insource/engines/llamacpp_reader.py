"""Reads every output of encoded rows with llama.cpp: what `engines.readout.Reader` answers, without torch.

A row is a text to go on with by one token. Every label token is lifted above the rest of the vocabulary by the same
amount, the others are dropped, and the probabilities of what is left are a softmax over the labels, from one pass. What
was computed of a row's beginning stays, so neither the line before the texts nor a row whose next output is asked is
read again.

It runs inside this process. Its library opens a web server all the same: that one gets a socket in a folder of its own,
which is gone before the first row is read, and a key that nobody knows.
"""

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from insource.errors import EngineDown

Rows = NDArray[Any]
GGUF = "model.gguf"
SLOTS = range(4, 33)  # the fewest and the most rows read together; between them as many as the tokens kept allow
KEPT_TOKENS = 8192
BATCH_TOKENS = 512
LIFT = 512.0  # above the rest of the vocabulary, whose logits are 0; in float32 it leaves labels steps of 0.00006
LEAST = -104.0  # the logarithm below that of every float32: what has no probability left is not reported


class _Token(msgspec.Struct, frozen=True):
    id: int
    prob: float


class _Place(msgspec.Struct, frozen=True):
    top_probs: tuple[_Token, ...]


class _Places(msgspec.Struct, frozen=True):
    content: tuple[_Place, ...]


class _Choice(msgspec.Struct, frozen=True):
    index: int
    logprobs: _Places


class _Said(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    error: dict[str, Any] = {}


class LlamacppReader:
    """`before` are the ids every row begins with, `tokens` the ids that labels have in the vocabulary, an output each.

    `longest` is the most tokens of a row in all. Raises `EngineDown` without xllamacpp or with a file it cannot load.
    """

    def __init__(
        self, folder: Path, before: Sequence[int], tokens: Sequence[Sequence[int]], *, longest: int, threads: int = 0
    ) -> None:
        self._before, self._tokens = list(before), [list(ids) for ids in tokens]
        width = longest + len(tokens)
        self._slots = min(max(KEPT_TOKENS // width, SLOTS[0]), SLOTS[-1])
        self._server = _server(folder / GGUF, self._slots, width, threads or _cores())

    def logits(self, encoded: Sequence[Sequence[int]]) -> list[Rows]:
        """Per output float32 [rows, labels], up to a constant a row; a later one follows the likeliest label."""
        found = [np.empty((len(encoded), len(ids)), np.float32) for ids in self._tokens]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        # of several outputs no more rows at once than are kept, so that each is found again for its next output
        size = self._slots if len(found) > 1 else max(len(order), 1)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            rows = [self._before + list(encoded[i]) for i in batch]
            for tokens, logits in zip(self._tokens, found, strict=True):
                logits[batch] = self._read(rows, tokens)
                rows = [[*row, tokens[label]] for row, label in zip(rows, logits[batch].argmax(1), strict=True)]
        return found

    def _read(self, rows: Sequence[Sequence[int]], tokens: Sequence[int]) -> Rows:
        """The logarithms of the probabilities of `tokens` behind each row."""
        found = np.full((len(rows), len(tokens)), LEAST, np.float32)
        at = {token: i for i, token in enumerate(tokens)}
        said = self._ask(rows, tokens)
        if len(said.choices) != len(rows):
            raise EngineDown(f"llama.cpp did not read the texts: {said.error or 'no reason given'}")
        for choice in said.choices:
            for one in choice.logprobs.content[0].top_probs:
                if one.id not in at:
                    raise EngineDown(f"llama.cpp gave a probability to token {one.id}, which is no label")
                found[choice.index, at[one.id]] = np.log(one.prob)
        return found

    def _ask(self, rows: Sequence[Sequence[int]], tokens: Sequence[int]) -> _Said:
        count = len(tokens)
        call = {"prompt": rows, "max_tokens": 1, "cache_prompt": True, "samplers": ["top_k"], "top_k": count,
                "logit_bias": [(token, LIFT) for token in tokens], "logprobs": count,
                "post_sampling_probs": True}  # fmt: skip
        said: list[bytes] = []
        self._server.handle_completions(msgspec.json.encode(call), said.append)
        try:
            return msgspec.json.decode(b"".join(said), type=_Said)
        except msgspec.DecodeError as error:
            raise EngineDown(f"llama.cpp's answer cannot be read: {error}") from error


def _server(path: Path, slots: int, width: int, threads: int) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[llamacpp]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.kv_unified, params.n_ctx = slots, True, slots * width
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
