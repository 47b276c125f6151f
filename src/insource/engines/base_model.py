"""An untuned instruct model on this machine: closed sets by exact probability, everything else under a grammar."""

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Any

import msgspec

from insource.decode import grammar
from insource.decode.calls import for_offer, told
from insource.decode.check import render
from insource.decode.mask import GrammarMask, Vocabulary
from insource.decode.prompt import messages
from insource.engines.base_model_chat import Chat
from insource.engines.base_model_net import Network
from insource.engines.base_model_said import offer_asked, prediction_of
from insource.engines.base_model_score import Scored, Scorer
from insource.engines.base_model_write import Draft, Writer
from insource.engines.batcher import Batcher
from insource.engines.local import LocalModel
from insource.engines.readout import by_length
from insource.errors import EngineDown, EngineSlow, InsourceError, Invalid
from insource.nouns import Example, JsonObject, Message, Prediction, Request, Task, Usage, ask

LARGEST_BATCH, TOKENS_A_ROW = 16, 128
ANSWER, STRUCTURED = 512, 2048
LISTED, LEAST, SPARE = 8_000, 32, 8


class BaseModel:
    """A converted base model that answers tasks and plain chats; `shots` stand in the prompt of every task.

    `classify` gives the exact probability of every label (`engines.base_model_score` says how, and what it does above
    2,000 trie nodes); the second output is scored after the first one's label, and so on. `extract`, `generate` and
    chats are written under the grammar of their schema or of the functions they may call, greedily or at `temperature`
    with `seed`. Confidence is the model's own probability of the answer: exact, not calibrated. Raises `EngineDown`
    without torch or the model.
    """

    def __init__(
        self, local: LocalModel, *, name: str, shots: tuple[Example, ...] = (), threads: int = 0,
        batch: int = LARGEST_BATCH,
    ) -> None:  # fmt: skip
        """`batch` is how many calls are answered together: more are answered sooner in all, each later."""
        self.name, self.local, self.shots, self.batch = name, local, shots, batch
        self._network = Network(local.folder, threads=threads)
        self._chat = Chat(local.folder)
        self._scorer = Scorer(self._network, self._chat)
        self._vocabulary = lru_cache(maxsize=1)(self._read_vocabulary)
        self._writer = lru_cache(maxsize=1)(self._make_writer)
        self._mask = lru_cache(maxsize=32)(self._compile)
        self._closing = threading.Event()
        self._batcher = Batcher(self._run, largest=batch)

    def room(self, task: Task, /) -> int:
        """How many tokens of an input fit beside the task's prompt and the longest answer that leaves three quarters.

        Raises `Invalid` where none do.
        """
        filling = "x " * LEAST
        request = msgspec.structs.replace(ask(task, filling, id=""), max_tokens=self._network.window)
        before, text, after = self._framed(request)
        around = len(text) - len(self._chat.text(filling))
        return self._room(request, before, after) - around - SPARE

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of the text spells."""
        return self._chat.offsets(text)

    async def complete(self, request: Request) -> Prediction:
        """The answer. Raises `Invalid` for a schema no grammar can honour, `EngineSlow` past the request's deadline."""
        start = time.perf_counter()
        await asyncio.to_thread(_grammar, request)
        try:
            async with asyncio.timeout(request.deadline):
                prediction = await self._batcher.submit(request)
        except TimeoutError as error:
            raise EngineSlow(f"{self.name} gave no answer within {request.deadline:g} s") from error
        return msgspec.structs.replace(prediction, latency_ms=(time.perf_counter() - start) * 1000)

    async def close(self) -> None:
        """Frees the worker thread, after the batch it is in; what was not begun gets `EngineDown`."""
        self._closing.set()
        await self._batcher.close()
        await asyncio.to_thread(self._chat.close)

    def _run(self, requests: list[Request]) -> list[Prediction | Exception]:
        import torch

        results: dict[int, Prediction | Exception] = {}
        groups: dict[tuple[Any, ...], list[tuple[int, _Prompt]]] = {}
        for i, request in enumerate(requests):
            try:
                prompt = self._prompt(request)
            except InsourceError as error:
                results[i] = error
                continue
            closed = request.task.outputs if request.task else ()
            groups.setdefault((closed, prompt.prefix), []).append((i, prompt))
        with torch.inference_mode():
            for rows in groups.values():
                self._group(requests, rows, results)
        return [results[i] for i in range(len(requests))]

    def _group(self, requests: list[Request], rows: "_Rows", results: "_Results") -> None:
        """Answers rows that share a prefix and their labels, in batches of like length."""
        task = requests[rows[0][0]].task
        scored = task if task and task.kind == "classify" else None
        extra = self._scorer.nodes(scored) if scored else 0
        lengths = [len(prompt.text) + extra for _, prompt in rows]
        for batch in by_length(lengths, self.batch * TOKENS_A_ROW, padding=inf):
            taken = [rows[i] for i in batch]
            if self._closing.is_set():
                results.update((i, EngineDown("the engine is closed")) for i, _ in taken)
            elif scored:
                self._classify(scored, taken, results)
            else:
                self._write([requests[i] for i, _ in taken], taken, results)

    def _classify(self, task: Task, rows: "_Rows", results: "_Results") -> None:
        found = self._scorer.score(task, rows[0][1].prefix, [prompt.text for _, prompt in rows])
        for (i, prompt), outputs in zip(rows, found, strict=True):
            results[i] = self._labelled(task, prompt, outputs)

    def _labelled(self, task: Task, prompt: "_Prompt", outputs: Sequence[Scored]) -> Prediction:
        value: JsonObject = {}
        confidence = 1.0
        for output, scored in zip(task.outputs, outputs, strict=True):
            value[output.name] = scored.label
            confidence *= scored.probability
        pairs = list(zip(task.fields, outputs, strict=True))
        return Prediction(
            text=render(task, value),
            value=value,
            engine=self.name,
            confidence=confidence,
            fields={name: scored.probability for name, scored in pairs},
            alternatives={name: scored.alternatives for name, scored in pairs},
            usage=prompt.usage(outputs[-1].tokens),
        )

    def _write(self, requests: list[Request], rows: "_Rows", results: "_Results") -> None:
        writer = self._writer()
        drafts = [self._draft(request, prompt) for request, (_, prompt) in zip(requests, rows, strict=True)]
        writer.write(rows[0][1].prefix, [prompt.text for _, prompt in rows], drafts, self._closing)
        for request, draft, (i, prompt) in zip(requests, drafts, rows, strict=True):
            usage = prompt.usage(len(draft.tokens))
            results[i] = draft.error or prediction_of(request, draft, writer, self.name, usage)

    def _draft(self, request: Request, prompt: "_Prompt") -> Draft:
        said, offer = _grammar(request), offer_asked(request)
        longest = STRUCTURED if said and not offer else ANSWER
        room = self._network.window - len(prompt.prefix) - len(prompt.text)
        mask, error = None, None
        try:
            mask = self._mask(said).start() if said else None
        except InsourceError as raised:  # a grammar too costly for this vocabulary is not the fault of those beside it
            error = raised
        return Draft(
            mask=mask,
            error=error,
            limit=max(1, min(room, request.max_tokens or longest)),
            bounded=request.max_tokens is None or room < request.max_tokens,
            temperature=request.temperature,
            seed=request.seed,
            stop=() if offer else request.stop,  # a call is whole or none; words are cut afterwards
            deadline=request.deadline,
        )

    def _prompt(self, request: Request) -> "_Prompt":
        """The request's tokens; an input that does not fit loses its middle."""
        before, text, after = self._framed(request)
        kept = _without_middle(text, self._room(request, before, after))
        cut = len(text) - len(kept)
        prefix = tuple(before) if request.task else ()
        return _Prompt(prefix, [*([] if request.task else before), *kept, *after], cut)

    def _room(self, request: Request, before: list[int], after: list[int]) -> int:
        """The tokens left for the input beside what stands around it and an answer."""
        window = self._network.window
        return window - len(before) - len(after) - min(request.max_tokens or ANSWER, window // 4)

    def _framed(self, request: Request) -> tuple[list[int], list[int], list[int]]:
        """The tokens before the input, its own, and those after; a long list of labels gives way to the input."""
        shown = LISTED
        while True:
            before, text, after = self._pieces(request, shown)
            if self._room(request, before, after) >= min(len(text), LEAST):
                return before, text, after
            if request.task is None or shown < LEAST:
                raise Invalid(
                    f"the prompt without its input has {len(before) + len(after):,} tokens; {self.name} sees "
                    f"{self._network.window:,}",
                    hint="fewer shots, a shorter instruction, or a model with a larger window",
                )
            shown //= 2

    def _pieces(self, request: Request, shown: int) -> tuple[list[int], list[int], list[int]]:
        """The tokens before the last user message, its own, and those after; labels take `shown` characters."""
        asked = _asked(request, self.shots, room=shown)
        pieces = self._chat.encode(asked)
        last = 2 * max((i for i, turn in enumerate(asked) if turn.role == "user"), default=len(asked) - 1) + 1
        before = [token for piece in pieces[:last] for token in piece]
        return before, pieces[last], [token for piece in pieces[last + 1 :] for token in piece]

    def _make_writer(self) -> Writer:
        return Writer(self._network, self._vocabulary(), self._chat.ends, self._chat.controls)

    def _read_vocabulary(self) -> Vocabulary:
        return Vocabulary(self._chat.definition, size=self._network.width, ends=self._chat.ends)

    def _compile(self, said: str) -> GrammarMask:
        return GrammarMask(self._vocabulary(), said)


class _Prompt(msgspec.Struct, frozen=True):
    """The tokens of one request: those it shares with its kind, its own, and how many were left out."""

    prefix: tuple[int, ...]
    text: list[int]
    cut: int

    def usage(self, said: int) -> Usage:
        return Usage(input_tokens=len(self.prefix) + len(self.text), output_tokens=said, cut=self.cut)


_Rows = list[tuple[int, _Prompt]]
_Results = dict[int, Prediction | Exception]


def _grammar(request: Request) -> str | None:
    if request.task:
        return None if request.task.kind == "classify" else grammar.for_task(request.task)
    offer = offer_asked(request)
    said = grammar.for_form(request.response_format) if request.response_format else None
    return for_offer(offer, said) if offer else said


def _asked(request: Request, shots: tuple[Example, ...], *, room: int) -> Sequence[Message]:
    if request.task:
        return messages(request.task, request.input, shots, room=room)
    if not request.messages:
        raise Invalid("a chat needs at least one message")
    return told(request.messages, offer_asked(request))


def _without_middle(tokens: list[int], room: int) -> list[int]:
    if len(tokens) <= room:
        return tokens
    tail = room // 4
    return tokens[: room - tail] + tokens[len(tokens) - tail :]
