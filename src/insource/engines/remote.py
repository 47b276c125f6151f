"""An engine behind any server that speaks the OpenAI API: a hosted model, vLLM, llama.cpp, Ollama, another gateway.

A call ends by its deadline, whatever the server does; an answer is whole or an error, never silently cut.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp

from insource.engines.remote_http import Rejected, Upstream
from insource.engines.remote_wire import Events, Heard, body, decoded, droppable
from insource.errors import EngineDown, EngineError, EngineSlow
from insource.nouns import Prediction, Request
from insource.settings import EngineSettings

LARGEST_ANSWER = 16_000_000
MOST_REJECTIONS = 4


class Remote:
    """The engine `name` of insource.toml. `key` is sent as a bearer token; "" sends none.

    A field that the server rejects (`response_format`, `logprobs`, …) is left out from then on, once a call without
    it went through. `confidence` is the probability the server gave its own words, None where it gives none. There
    is one answer a call, whatever `n` says. Raises `Invalid` on a `base_url` that is none.
    """

    def __init__(self, name: str, settings: EngineSettings, key: str) -> None:
        self.name = name
        self._upstream = Upstream(name, settings, key)
        self._model, self._timeout_s = settings.model, settings.timeout_s
        self._without: frozenset[str] = frozenset()

    async def complete(self, request: Request) -> Prediction:
        """The server's answer, held to the task. Raises `EngineBusy`, `EngineDown`, `EngineSlow` or `EngineError`."""
        started, until, heard = time.perf_counter(), self._until(request), Heard()
        try:
            async with asyncio.timeout_at(until):
                response = await self._answer(request, until, stream=False)
                async with response:
                    heard.take(decoded(await self._upstream.read(response, LARGEST_ANSWER)), "message")
        except TimeoutError as error:
            raise self._slow(request) from error
        return heard.prediction(request, self.name, (time.perf_counter() - started) * 1000)

    async def stream(self, request: Request) -> AsyncIterator[str | Prediction]:
        """The text as it comes, then the whole Prediction. A stream without its end mark raises `EngineDown`."""
        started, until = time.perf_counter(), self._until(request)
        heard, events, ended = Heard(), Events(), False
        try:
            async with asyncio.timeout_at(until):
                response = await self._answer(request, until, stream=True)
            async with response:
                while not ended:
                    async with asyncio.timeout_at(until):
                        piece = await self._upstream.piece(response)
                    # the end of the connection ends the last event too
                    texts, ended = self._listen(heard, events.feed(piece or b"\n\n"))
                    for text in texts:
                        yield text
                    if not piece and not ended:
                        raise EngineDown(f"{self.name}: the stream ended before its end mark; the answer is not whole")
        except TimeoutError as error:
            raise self._slow(request) from error
        yield heard.prediction(request, self.name, (time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Closes the connections; calls under way and later ones get `EngineDown`."""
        await self._upstream.close()

    async def _answer(self, request: Request, until: float, *, stream: bool) -> aiohttp.ClientResponse:
        """The opened 200 answer. Fields that the server rejects are left out; remembered when that helped."""
        without, complaint = self._without, ""
        for _ in range(MOST_REJECTIONS):
            sent = body(request, self._model, without, stream=stream)
            try:
                response = await self._upstream.post(sent, until)
            except Rejected as rejected:
                complaint = complaint or str(rejected)
                fewer = droppable(request, sent, str(rejected))
                if not fewer:
                    break
                without |= fewer
                continue
            self._without |= without
            return response
        raise EngineError(f"{self.name} rejects the request: {complaint}")

    def _listen(self, heard: Heard, events: list[bytes]) -> tuple[list[str], bool]:
        """The texts that the events bring, and whether the end mark was among them."""
        texts: list[str] = []
        for data in events:
            if data == b"[DONE]":
                return texts, True
            event = decoded(data)
            if event.get("error"):
                raise EngineDown(f"{self.name} broke off: {self._upstream.clean(event['error'])}")
            if text := heard.take(event, "delta"):
                texts.append(text)
        return texts, False

    def _until(self, request: Request) -> float:
        return asyncio.get_running_loop().time() + min(request.deadline, self._timeout_s)

    def _slow(self, request: Request) -> EngineSlow:
        return EngineSlow(f"{self.name} did not answer within {min(request.deadline, self._timeout_s):g} s")
