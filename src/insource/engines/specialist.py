"""The trained model, served from its artefact: merged weights, one token a label, calibrated confidence."""

import time
from pathlib import Path
from typing import Any

from insource.engines.artefact import Manifest, faults, read_manifest
from insource.engines.batcher import Batcher
from insource.engines.prefix import Prefix
from insource.engines.readout import Encoder, Reader, load_body, pick_device, pick_dtype
from insource.errors import EngineDown, Refused
from insource.nouns import JsonObject, Prediction, Request, Task, Usage

SHOWN = 5


class Specialist:
    """Answers one task. Confidence is the product over outputs of the calibrated probability of the label given.

    The files are checked against the manifest before anything is loaded. Raises `Missing` without an artefact,
    `Refused` when a file was changed, `EngineDown` when torch is missing.
    """

    def __init__(self, folder: Path, *, name: str, threads: int = 0) -> None:
        said = faults(folder)
        if said:
            raise Refused(f"{folder} is not what was released: {'; '.join(said)}", hint="restore it, or roll back")
        self.name = name
        self.manifest: Manifest = read_manifest(folder)
        device = pick_device()
        self._encoder = Encoder(folder / "model", self.manifest.max_tokens, self.manifest.template)
        body = load_body(
            folder / "model",
            device=device,
            dtype=pick_dtype(device),
            threads=threads,
            longest=self.manifest.max_tokens,
        )
        tokens = [head.tokens for head in self.manifest.heads]
        prefix = Prefix(body, self._encoder.before)
        self._reader = Reader(prefix, head_rows(folder / "model", tokens, device), tokens, end=self._encoder.end)
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
        logits = self._reader.logits([ids for ids, _ in encoded])
        heads = [logits_of / head.temperature for logits_of, head in zip(logits, self.manifest.heads, strict=True)]
        probabilities = [logits_of.softmax(1) for logits_of in heads]
        elapsed = (time.perf_counter() - start) * 1000
        return [
            self._prediction([p[i] for p in probabilities], len(self._encoder.before) + len(ids), cut, elapsed)
            for i, (ids, cut) in enumerate(encoded)
        ]

    def _prediction(self, probabilities: list[Any], tokens: int, cut: int, latency_ms: float) -> Prediction:
        value: JsonObject = {}
        fields: dict[str, float] = {}
        alternatives = {}
        confidence = 1.0
        for head, p in zip(self.manifest.heads, probabilities, strict=True):
            top = p.topk(min(SHOWN, len(head.labels)))
            ranked = [(head.labels[i], float(v)) for v, i in zip(top.values, top.indices, strict=True)]
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
            usage=Usage(input_tokens=tokens, output_tokens=len(labels), cut=cut),
            latency_ms=latency_ms,
        )


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
