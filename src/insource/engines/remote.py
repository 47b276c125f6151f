"""An engine behind any server whose language we speak: a hosted model, vLLM, llama.cpp, Ollama, another gateway.

A call ends by its deadline, whatever the server does; an answer is whole or an error, never silently cut. What a
server lets through that breaks the task's contract is asked for again, a few times, and never passed on.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from insource.decode.prompt import again, messages
from insource.engines.base import Piece
from insource.engines.bursts import Burst, Coming, Into, one_by_one
from insource.engines.dialects import dialect
from insource.engines.neutral import neutral_turns
from insource.engines.outward import Outward
from insource.engines.remote_anthropic import ANTHROPIC
from insource.engines.remote_http import Incoming, Rejected, Spoiled, Upstream, Waits
from insource.engines.remote_ollama import OLLAMA
from insource.engines.remote_openai import OPENAI
from insource.engines.remote_wire import DONE, SPOILED, Events, Heard, decoded, served, taken, vectors
from insource.engines.remote_wish import Asked, Levels, body, fewer, wishes
from insource.errors import EngineDown, EngineError
from insource.nouns import JsonObject, Message, Prediction, Request, Task, Usage
from insource.nouns.request import text_of
from insource.scan.find import Shapes
from insource.settings import EngineSettings

LARGEST_ANSWER = 16_000_000
MOST_REJECTIONS = 8
MOST_AT_ONCE = 256  # pieces that go on together: what they are written as may be five times what they came as
MOST_KNOWN = 256
NONE_REJECTED: Levels = {}
EMBEDDINGS = "/embeddings"
WELL_S = 2.0
MARGIN_S = 0.1  # who asked has the same deadline, and shall hear of the answer at hand
WIRES = {"openai": OPENAI, "anthropic": ANTHROPIC, "ollama": OLLAMA}


@dataclass(slots=True)
class _Call:
    """One call under way: what is said to the server, and by when an answer is due."""

    request: Request
    said: tuple[Message, ...]
    waits: Waits
    started: float

    tries: int = 1

    @property
    def ms(self) -> float:
        """Milliseconds since it began."""
        return (time.perf_counter() - self.started) * 1000

    @property
    def has_time(self) -> bool:
        """Whether another try, as long as those before, would end in time."""
        left = self.waits.until - asyncio.get_running_loop().time() - MARGIN_S
        return left > self.ms / 1000 / self.tries

    def ask_again(self, task: Task, said: str) -> None:
        """From now on the conversation goes on after the invalid answer `said`, and ends a little before time."""
        self.said = (*self.said[:2], *again(task, said))
        self.waits.until -= MARGIN_S if self.tries == 1 else 0
        self.tries += 1


class Remote:
    """The engine `name` of insource.toml. `key` is sent as a bearer token; "" sends none.

    A form that the server rejects (of `response_format`, `logprobs`, …) gives way to the next of its dialect, or is
    left out, from then on for that task, once a call without it went through. `confidence` is the server's own, as
    `remote_sure` weighs it, None where it gives none. There is one answer a call, whatever `n` says. It is reached by
    `outward`, which holds it to its region's networks; raises `Invalid` on a `base_url` that is none. With `control`,
    control tokens in what strangers wrote are spelled otherwise, for the server may read them as such.
    """

    def __init__(
        self, name: str, settings: EngineSettings, key: str, outward: Outward | None = None,
        control: Shapes | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._control = control
        self._dialect = dialect(settings.kind)
        self._wire = WIRES[self._dialect.wire]
        outward = outward or Outward(f"engine {name}", settings.region)
        self._upstream = Upstream(name, settings, key, self._dialect, outward)
        self._settings, self._model, self._retries = settings, settings.model, settings.retries
        self._levels: dict[str, Levels] = {}
        self._known_wishes: dict[tuple[object, ...], dict[str, Asked]] = {}

    def complete(self, request: Request) -> Coroutine[Any, Any, Prediction]:
        """The server's answer, held to the task. Raises `EngineBusy`, `EngineDown`, `EngineSlow` or `EngineError`.

        Nothing but an invalid answer is asked for again here: `deployment` tries again what may pass.

        An invalid one is asked for again, with what is wrong with it, as often as `retries` says and the deadline
        allows; usage and latency are those of all tries. What stays invalid says so and has no value.
        """
        call = self._call(request)
        return self._once(call) if request.task is None else self._held(call, request.task)

    def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """Text and calls as they come, then the whole Prediction; `bursts`, each piece by itself."""
        return one_by_one(self.bursts(request))

    async def bursts(self, request: Request) -> Coming:
        """Text and calls as they come, then the whole Prediction. A stream without its end mark raises `EngineDown`.

        What was sent cannot be asked for again: an invalid answer to a task is marked, and that is all. Pieces that
        were read at once are a burst, of at most `MOST_AT_ONCE`; of a read with a fault in it nothing goes on.
        """
        call, heard = self._call(request), self._heard(request)
        events = Events(lines=self._wire.lines)
        try:
            with await self._answer(call, stream=True) as incoming:
                into: Into | None = None
                while not heard.ended:
                    if into is not None:
                        await incoming.pour(partial(self._passed, heard, events, into))
                        if heard.ended:
                            break
                    piece = await incoming.piece()
                    # the end of the connection ends the last event too
                    texts = self._listen(heard, events.feed(piece or b"\n\n"))
                    for at in range(0, len(texts), MOST_AT_ONCE):
                        into = yield texts[at : at + MOST_AT_ONCE]
                    if not piece and not heard.ended:
                        raise EngineDown(f"{self.name}: the stream ended before its end mark; the answer is not whole")
        except Spoiled:
            heard.reason = SPOILED
        yield [heard.prediction(request, self.name, call.ms)]

    async def embed(self, request: Request, wanted: JsonObject) -> tuple[list[JsonObject], Usage]:
        """A vector for each message, from the server's embeddings. Raises `EngineError`, as `complete` does."""
        if self._wire is not OPENAI:
            raise EngineError(f"{self.name}: embeddings are asked of servers with the OpenAI API only")
        call, texts = self._call(request), [text_of(message.content) for message in request.messages]
        sent = {name: value for name, value in wanted.items() if value is not None}
        asked = {"model": self._model or request.model, "input": texts} | sent
        try:
            with await self._upstream.post(asked, call.waits, EMBEDDINGS, request.trace) as incoming:
                data = decoded(await incoming.read(LARGEST_ANSWER * 4))
        except (Rejected, Spoiled) as error:
            raise EngineError(f"{self.name} rejects the request: {error}") from error
        return vectors(data, len(texts), self.name)

    async def well(self) -> bool | None:
        """Whether the server says within `WELL_S` that it is well; None where its kind has no word for that."""
        return await self._upstream.well(Waits(self.name, self._settings, WELL_S))

    async def close(self) -> None:
        """Closes the connections; calls under way and later ones get `EngineDown`."""
        await self._upstream.close()

    async def _held(self, call: _Call, task: Task) -> Prediction:
        """The answer to a task; asked for again while it is invalid."""
        prediction = await self._once(call)
        for _ in range(self._retries):
            if prediction.finish != "invalid" or not call.has_time:
                break
            call.ask_again(task, prediction.text)
            try:
                next_one = await self._once(call)
            except EngineError:
                break  # the answer at hand is invalid: that is told, with what it cost
            prediction = msgspec.structs.replace(next_one, usage=_sum(prediction.usage, next_one.usage))
        return msgspec.structs.replace(prediction, latency_ms=call.ms)

    async def _once(self, call: _Call) -> Prediction:
        """One answer, valid or not."""
        heard = self._heard(call.request)
        try:
            with await self._answer(call, stream=False) as incoming:
                data = decoded(await incoming.read(LARGEST_ANSWER))
        except Spoiled:
            heard.reason = SPOILED
        else:
            self._take(heard, data, "message")
            heard.served = served(data)
        return heard.prediction(call.request, self.name, call.ms)

    async def _answer(self, call: _Call, *, stream: bool) -> Incoming:
        """The opened 200 answer. Forms that the server rejects are given up; remembered when that helped."""
        request = call.request
        asked = self._wishes(request, stream=stream)
        said = self._wire.said(call.said, request)
        about = request.task.name if request.task else ""
        levels, complaint = self._levels.get(about, NONE_REJECTED), ""
        for _ in range(MOST_REJECTIONS):
            sent = body(said, self._model or request.model, self._dialect, asked, levels)
            try:
                incoming = await self._upstream.post(sent, call.waits, trace=request.trace)
            except Rejected as rejected:
                complaint = complaint or str(rejected)
                next_levels = fewer(asked, levels, str(rejected))
                if next_levels == levels:
                    break
                levels = next_levels
                continue
            if complaint:
                self._levels[about] = dict(self._levels.get(about, {})) | dict(levels)
            return incoming
        raise EngineError(f"{self.name} rejects the request: {complaint}")

    def _wishes(self, request: Request, *, stream: bool) -> dict[str, Asked]:
        """What the request wants; what those want that differ only in their words is worked out once."""
        if request.task is not None or request.response_format is not None or request.tools is not None:
            return wishes(request, self._dialect, stream=stream)
        wanted = (request.temperature, request.max_tokens, request.seed, request.stop, request.logprobs, stream)
        asked = self._known_wishes.get(wanted)
        if asked is None:
            if len(self._known_wishes) >= MOST_KNOWN:
                self._known_wishes.clear()
            asked = self._known_wishes[wanted] = wishes(request, self._dialect, stream=stream)
        return asked

    def _listen(self, heard: Heard, events: list[bytes]) -> Burst:
        """The texts, and the pieces of calls, that the events bring, up to the end mark."""
        brought: Burst = []
        for data in events:
            if data == DONE:
                if heard.reason is None:
                    raise EngineDown(f"{self.name}: the stream ended without a word on how; the answer is not whole")
                heard.ended = True
            elif text := self._text(heard, data):
                brought.append(text)
            if heard.fresh:
                brought += heard.come()
            if heard.ended:
                break
        return brought

    def _passed(self, heard: Heard, events: Events, into: Into, piece: bytes) -> bool:
        """Puts into `into` what the bytes bring; whether that goes for the next ones too."""
        texts = self._listen(heard, events.feed(piece))
        return (not texts or into(texts)) and not heard.ended

    def _text(self, heard: Heard, data: bytes) -> str:
        quick = self._wire.quick
        text = quick(heard, data) if quick is not None else None
        return self._take(heard, decoded(data), "delta") if text is None else text

    def _take(self, heard: Heard, data: dict[str, object], part: str) -> str:
        try:
            return taken(self._wire, heard, data, part)
        except EngineDown as error:
            raise EngineDown(f"{self.name}: {self._upstream.clean(str(error))}") from error

    def _call(self, request: Request) -> _Call:
        said = messages(request.task, request.input) if request.task else request.messages
        said = said if self._control is None else neutral_turns(said, self._control)
        return _Call(request, said, Waits(self.name, self._settings, request.deadline), time.perf_counter())

    def _heard(self, request: Request) -> Heard:
        return Heard(self._dialect, bound=request.task is not None)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cut=max(one.cut, other.cut),
    )
