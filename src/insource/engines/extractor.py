"""The trained model of an extract task, served from its artefact: JSON under its schema, confidence calibrated."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from insource.engines.artefact import Calibration, Manifest, faults, read_manifest
from insource.engines.batcher import Batcher
from insource.engines.composer import Composer
from insource.engines.readout import Encoder
from insource.errors import Refused
from insource.nouns import Prediction, Request, Task


class Extractor:
    """Answers one extract task. Each field's confidence, and the whole's, was fitted on the dev rows.

    The files are checked against the manifest before anything is loaded; those named by `left` may be absent. Raises
    `Missing` without an artefact, `Refused` when a file was changed, `EngineDown` when torch is missing.
    """

    def __init__(self, folder: Path, *, name: str, threads: int = 0, left: Sequence[str] = ()) -> None:
        said = faults(folder, left=left)
        if said:
            raise Refused(f"{folder} is not what was released: {'; '.join(said)}", hint="restore it, or roll back")
        self.name = name
        self.manifest: Manifest = read_manifest(folder)
        self._encoder = Encoder(folder / "model", self.manifest.max_tokens, self.manifest.template)
        self._composer = Composer(folder / "model", self.manifest.task, self._encoder, name=name, threads=threads)
        self._calibration = self.manifest.calibration or Calibration()
        self._closing = threading.Event()
        self._batcher = Batcher(self._run)

    def room(self, _: Task, /) -> int:
        """The tokens of a text that are read at once."""
        return self._encoder.room

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of the text spells."""
        return self._encoder.offsets(text)

    async def complete(self, request: Request) -> Prediction:
        """The task's answer to the request's input: the likeliest, whatever temperature is asked for."""
        start = time.perf_counter()
        said = await self._batcher.submit(request)
        return msgspec.structs.replace(said, latency_ms=(time.perf_counter() - start) * 1000)

    async def close(self) -> None:
        """Frees the worker thread and the weights; what was not begun gets `EngineDown`."""
        self._closing.set()
        await self._batcher.close()

    def _run(self, requests: list[Request]) -> list[Prediction | Exception]:
        import torch

        with torch.inference_mode():
            return self._composer.write(requests, self._calibration, self._closing)
