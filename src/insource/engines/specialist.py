"""The trained model, served from its artefact: merged weights, one token a label, calibrated confidence."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from insource.engines.artefact import Manifest, faults, read_manifest
from insource.engines.batcher import LARGEST, Batcher
from insource.engines.held_out import SAYS_NOVELTY
from insource.engines.prefix import Prefix
from insource.engines.readout import Encoder, Reader, load_body, pick_device, pick_dtype
from insource.engines.shared_base import Bases
from insource.errors import EngineDown, Refused
from insource.nouns import JsonObject, Prediction, Request, Task, Usage

SHOWN = 5


class Specialist:
    """Answers one task. Confidence is the product over outputs of the calibrated probability of the label given.

    Novelty is the energy of the logits, -log Σ exp (Liu et al. 2020, arXiv:2010.03759), the mean over outputs.

    The files are checked against the manifest before anything is loaded; those named by `left` may be absent. Raises
    `Missing` without an artefact, `Refused` when a file was changed, `EngineDown` when torch is missing. With
    `bases` it answers from one of these and its adapter instead of its merged weights, and raises what they say.
    """

    reads_at_once = LARGEST  # texts that it reads at once

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        threads: int = 0,
        left: Sequence[str] = (),
        bases: Bases | None = None,
    ) -> None:
        said = faults(folder, left=left)
        if said:
            raise Refused(f"{folder} is not what was released: {'; '.join(said)}", hint="restore it, or roll back")
        self.name = name
        self.manifest: Manifest = read_manifest(folder)
        self._reader: Any
        if bases is None or self.manifest.engine != "torch":
            self._encoder = Encoder(folder / "model", self.manifest.max_tokens, self.manifest.template)
            self._reader = READERS[self.manifest.engine](folder, self.manifest, self._encoder, threads)
        else:
            self._reader = bases.reader(folder, self.manifest, threads)
            self._encoder = self._reader.encoder
        self._batcher = Batcher(self._run)

    def room(self, _: Task, /) -> int:
        """The tokens of a text that are read at once."""
        return self._encoder.room

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of the text spells."""
        return self._encoder.offsets(text)

    async def complete(self, request: Request) -> Prediction:
        """The task's answer to the request's input."""
        return await self._batcher.submit(request)

    async def close(self) -> None:
        """Frees the worker thread and the weights."""
        await self._batcher.close()

    def _run(self, requests: list[Request]) -> list[Prediction | Exception]:
        start = time.perf_counter()
        encoded = self._encoder.encode([request.input for request in requests])
        logits = [np.asarray(one) for one in self._reader.logits([ids for ids, _ in encoded])]
        heads = self.manifest.heads
        probabilities = [_softmax(one / head.temperature) for one, head in zip(logits, heads, strict=True)]
        # llama.cpp gives logarithms of probabilities, which say nothing of how strange a text is
        known = self.manifest.engine in SAYS_NOVELTY
        strange = [float(one) if known else UNSET for one in np.mean([_energy(one) for one in logits], axis=0)]
        elapsed = (time.perf_counter() - start) * 1000
        before = len(self._encoder.before)
        usages = [Usage(input_tokens=before + len(ids), output_tokens=len(heads), cut=cut) for ids, cut in encoded]
        return [
            msgspec.structs.replace(
                self._prediction([p[i] for p in probabilities], usage), latency_ms=elapsed, novelty=strange[i]
            )
            for i, usage in enumerate(usages)
        ]

    def _prediction(self, probabilities: list[Any], usage: Usage) -> Prediction:
        value: JsonObject = {}
        fields: dict[str, float] = {}
        alternatives = {}
        confidence = 1.0
        for head, p in zip(self.manifest.heads, probabilities, strict=True):
            ranked = [(head.labels[i], float(p[i])) for i in np.argsort(-p, kind="stable")[:SHOWN]]
            value[head.name], fields[head.name] = ranked[0]
            alternatives[head.name] = tuple(ranked)
            confidence *= ranked[0][1]
        labels = list(value.values())
        return Prediction(
            text=labels[0] if len(labels) == 1 else _json(value),
            value=value,
            engine=self.name,
            confidence=min(confidence, 1.0),
            fields=fields,
            alternatives=alternatives,
            usage=usage,
        )


def _torch_reader(folder: Path, manifest: Manifest, encoder: Encoder, threads: int) -> Any:
    device = pick_device()
    body = load_body(
        folder / "model", device=device, dtype=pick_dtype(device), threads=threads, longest=manifest.max_tokens
    )
    tokens = [head.tokens for head in manifest.heads]
    return Reader(Prefix(body, encoder.before), head_rows(folder / "model", tokens, device), tokens, end=encoder.end)


def _openvino_reader(folder: Path, manifest: Manifest, encoder: Encoder, threads: int) -> Any:
    from insource.engines.openvino_reader import OpenvinoReader

    tokens = [head.tokens for head in manifest.heads]
    return OpenvinoReader(folder / "model", encoder.before, tokens, end=encoder.end, threads=threads)


def _llamacpp_reader(folder: Path, manifest: Manifest, encoder: Encoder, threads: int) -> Any:
    from insource.engines.llamacpp_reader import LlamacppReader

    tokens = [head.tokens for head in manifest.heads]
    return LlamacppReader(folder / "model", encoder.before, tokens, longest=manifest.max_tokens, threads=threads)


READERS = {"torch": _torch_reader, "openvino": _openvino_reader, "llamacpp": _llamacpp_reader}


def _energy(logits: Any) -> Any:
    """-log Σ exp of each row: low where one of the labels fits well."""
    best = logits.max(1, keepdims=True)
    return -(best[:, 0] + np.log(np.exp((logits - best).astype(np.float64)).sum(1)))


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def head_rows(folder: Path, tokens: list[tuple[int, ...]], device: str) -> list[Any]:
    """The label rows of the untied vocabulary head, one float32 tensor [labels, hidden] per output."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", framework="pt", device="cpu") as file:
            head = file.get_tensor("lm_head.weight")
    except (SafetensorError, OSError) as error:
        raise EngineDown(f"{folder} has no readable label head: {error}") from error
    return [head[torch.tensor(ids)].float().to(device) for ids in tokens]


def _json(value: JsonObject) -> str:
    from insource.nouns import to_json

    return to_json(value).decode()
