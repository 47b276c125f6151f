"""Writing the answers of one extract task: the text and a cue in, JSON out, under the grammar of the task's schema.

Training, its calibration and serving all write through this file.
"""

import threading
from collections.abc import Sequence
from math import inf
from pathlib import Path

import msgspec

from insource.decode import grammar
from insource.decode.mask import GrammarMask, Vocabulary
from insource.engines.artefact import Calibration
from insource.engines.base_model_net import Network
from insource.engines.base_model_said import prediction_of
from insource.engines.base_model_write import Draft, Writer
from insource.engines.readout import Encoder, by_length
from insource.errors import EngineDown
from insource.nouns import Prediction, Request, Task, Usage

LONGEST = 2048
TOKENS_PER_BATCH = 8192


class Composer:
    """A causal language model in `folder` that answers `task`, always with the likeliest next token.

    `name` is said to have answered. Raises `EngineDown` when torch or the files are missing, `Invalid` for a schema
    that no grammar can honour.
    """

    def __init__(self, folder: Path, task: Task, encoder: Encoder, *, name: str, threads: int = 0) -> None:
        self.name, self.encoder = name, encoder
        self._network = Network(folder, threads=threads)
        vocabulary = vocabulary_of(folder, encoder, self._network.width)
        self._writer = Writer(self._network, vocabulary, [encoder.end], frozenset())
        self._mask = GrammarMask(vocabulary, grammar.for_task(task) or "")

    def write(
        self, requests: Sequence[Request], calibration: Calibration, halt: threading.Event
    ) -> list[Prediction | Exception]:
        """One answer or one error a request, with calibrated confidences; `halt` ends it early."""
        encoded = self.encoder.encode([request.input for request in requests])
        prefix = tuple(self.encoder.before)
        found: dict[int, Prediction | Exception] = {}
        for batch in by_length([len(ids) for ids, _ in encoded], TOKENS_PER_BATCH, padding=inf):
            if halt.is_set():
                found.update((i, EngineDown("the engine is closed")) for i in batch)
                continue
            drafts = [self._draft(requests[i], len(prefix) + len(encoded[i][0])) for i in batch]
            self._writer.write(prefix, [encoded[i][0] for i in batch], drafts, halt)
            for i, draft in zip(batch, drafts, strict=True):
                ids, cut = encoded[i]
                usage = Usage(input_tokens=len(prefix) + len(ids), output_tokens=len(draft.tokens), cut=cut)
                plain = msgspec.structs.replace(requests[i], stop=())
                found[i] = draft.error or calibrated(
                    prediction_of(plain, draft, self._writer, self.name, usage), calibration
                )
        return [found[i] for i in range(len(requests))]

    def _draft(self, request: Request, taken: int) -> Draft:
        room = self._network.window - taken
        return Draft(
            mask=self._mask.start(),
            limit=max(1, min(room, request.max_tokens or LONGEST)),
            bounded=request.max_tokens is None or room < request.max_tokens,
            deadline=request.deadline,
        )


def vocabulary_of(folder: Path, encoder: Encoder, width: int) -> Vocabulary:
    """The tokenizer in `folder` as masks see it, `width` tokens wide."""
    return Vocabulary((folder / "tokenizer.json").read_text("utf-8"), size=width, ends=[encoder.end])


def calibrated(said: Prediction, calibration: Calibration) -> Prediction:
    """The same answer with its probabilities as confidences."""
    if said.confidence is None:
        return said
    fields = {
        name: calibration.fields[name].of(sure) if name in calibration.fields else sure
        for name, sure in said.fields.items()
    }
    return msgspec.structs.replace(said, confidence=calibration.whole.of(said.confidence), fields=fields)
