"""POST /v1/chat/completions: read the call, answer it through the journey, say it as OpenAI does."""

import time
from collections.abc import AsyncGenerator, Iterator
from functools import lru_cache
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Invalid, OutputInvalid
from insource.journeys.relay import Begins, Begun
from insource.nouns import CallPiece, JsonObject, Record, record_id, to_json
from insource.serve import wire
from insource.serve.ask import Answered, Asked, Unanswered, ask, relayed
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.exchange import Exchange, exchange_of
from insource.serve.faults import NOT_KEPT, TooLarge, error_response
from insource.serve.hosts import given
from insource.serve.leaving import Gone, WhileThere
from insource.serve.said import Said
from insource.serve.stream import GAP, EventStream, Words, event

BEGUN: JsonObject = {"role": "assistant", "content": ""}
NO_RETRY = {"x-should-retry": "false"}  # what waits for a person is not asked again
AGAIN = NOT_KEPT | {"x-insource-cache": "hit"}
LEFT_STATUS = 499  # nobody reads it; as nginx writes it in its log


async def chat(http: HttpRequest) -> ASGIApp:
    """Answers one chat call."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    call = wire.read_call(await read_body(http, desk.settings.serve.max_body_bytes))
    desk.check(key, call.model)
    asked = Asked(call, key, await desk.name(call, key), http.scope["headers"])
    if call.stream and (call.n or 1) == 1 and desk.passes_through(call.model):
        said = live_headers(name := record_id(), call.model)
        return await live(_passed_on(desk, asked, name, said), said, exchange_of(http.scope))
    try:
        return _answered(await ask(desk, asked, exchange_of(http.scope)), call)
    except Unanswered as failed:
        return unanswered(failed)
    except Gone:
        return left()


def unanswered(failed: Unanswered) -> Response:
    """The error of a call that no engine answered, with the name of its record."""
    return error_response(failed.error, {"x-request-id": failed.record, "x-insource-record": failed.record})


def left() -> Response:
    """What is said to a caller that has left."""
    return Response(status_code=LEFT_STATUS)


async def read_body(http: HttpRequest, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to exceed `limit` bytes, `Invalid` if it breaks off."""
    at_once = exchange_of(http.scope).whole()
    if at_once is not None:
        if len(at_once) > limit:
            raise _too_large(limit)
        return at_once
    declared = given(http.scope, b"content-length")
    if declared and declared[0].isdecimal() and int(declared[0]) > limit:
        raise _too_large(limit)
    whole: bytes = b""
    while True:
        message = await http.receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the caller left before the end of its body")
        whole += message.get("body", b"")
        if len(whole) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return whole


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit:,} bytes", hint="serve.max_body_bytes sets the limit")


def headers(record: Record) -> dict[str, str]:
    """What every answer carries."""
    return _headers(wire.facts(record))


def _headers(facts: JsonObject) -> dict[str, str]:
    confidence = facts["confidence"]
    return (AGAIN if "cache" in facts else NOT_KEPT) | {
        "x-request-id": facts["record"],
        "x-insource-record": facts["record"],
        "x-insource-release": _quoted(str(facts["release"])),
        "x-insource-tier": str(facts["tier"]),
        "x-insource-confidence": "" if confidence is None else f"{confidence:.6f}",
        "x-insource-decision": str(facts["decision"]),
    }


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe="@+")


def _answered(answered: Answered, call: wire.ChatCall) -> ASGIApp:
    record, task = answered.records[0], answered.path.task
    refused = no_answer(answered)
    if refused is not None:
        return error_response(refused, headers(record) | NO_RETRY)
    created = int(time.time())
    if not call.stream:
        body = wire.completion(answered.records, call, task, created)
        return Said(to_json(body), _headers(body["insource"]))
    first = event(wire.chunk(record.id, call, record.release or call.model, created, BEGUN))
    return EventStream(first, _decided(answered, call, created), headers(record))


def no_answer(answered: Answered) -> OutputInvalid | None:
    """What a task's caller is told when no engine gave a valid answer."""
    record = answered.records[0]
    said = record.answer
    if answered.path.task is None or (said is not None and said.value is not None):
        return None
    reason = record.attempts[-1].decision.reason
    return OutputInvalid(f"no engine gave a valid answer: {reason}", hint=f"it waits for a person as {record.id}")


async def _decided(answered: Answered, call: wire.ChatCall, created: int) -> AsyncGenerator[bytes]:
    task, first = answered.path.task, answered.records[0]
    model = first.release or call.model
    for index, record in enumerate(answered.records):
        if index:
            yield event(wire.chunk(first.id, call, model, created, BEGUN, index))
        content = wire.content_of(record, task)
        if content:
            yield event(wire.chunk(first.id, call, model, created, {"content": content}, index))
        last = wire.last_chunk(record, call, task, model, created, index)
        yield event(last | {"id": f"chatcmpl-{first.id}"})
    if call.usage_chunk:
        yield event(wire.usage_chunk(answered.records, call, model, created))


async def live(events: AsyncGenerator[bytes], said: dict[str, str], exchange: Exchange) -> ASGIApp:
    """Streams an engine's words as they come; an error before the first of them is a plain error answer."""
    try:
        with WhileThere(exchange):
            first = await anext(events)
    except Gone:
        return left()
    return EventStream(first, events, said)


def live_headers(name: str, model: str) -> dict[str, str]:
    """What is known of a call before its first word; with that `names` says who answers."""
    said = {"x-request-id": name, "x-insource-record": name, "x-insource-release": _quoted(model)}
    return said | {"x-insource-tier": "1", "x-insource-confidence": "", "x-insource-decision": "answered"}


def names(said: dict[str, str]) -> Begins:
    """What puts into the headers `said` who answers a stream: they leave with the first word, so they can tell."""

    def name(begun: Begun) -> None:
        said["x-insource-release"] = _quoted(begun.release)
        said["x-insource-tier"] = str(begun.tier)
        if begun.tier > 1:
            said["x-insource-decision"] = "escalated"
        if begun.cached:
            said.update(AGAIN)

    return name


async def _passed_on(desk: Desk, asked: Asked, id: str, said: dict[str, str]) -> AsyncGenerator[bytes]:
    """The events of an engine's words; before the first of them, `said` has the headers that tell whose they are."""
    call, created, begun, in_pieces = asked.call, int(time.time()), BEGUN, False
    words = Words(wire.chunk(id, call, call.model, created, {"content": GAP}))
    async with relayed(desk, asked, id, names(said)) as coming:
        async for burst in coming:
            events: list[bytes] = []
            for piece in burst:
                if isinstance(piece, Record):
                    said |= headers(piece)
                    events += _ended(piece, call, created, begun, in_pieces=in_pieces)
                elif isinstance(piece, CallPiece):
                    delta = (begun | {"content": None} if begun else {}) | wire.call_delta(piece)
                    events.append(event(wire.chunk(id, call, call.model, created, delta)))
                    in_pieces = True
                elif begun:
                    events.append(event(wire.chunk(id, call, call.model, created, begun | {"content": piece})))
                else:
                    events.append(words.event(piece))
                begun = {}
            yield b"".join(events)


def _ended(record: Record, call: wire.ChatCall, created: int, begun: JsonObject, *, in_pieces: bool) -> Iterator[bytes]:
    if begun:
        yield event(wire.chunk(record.id, call, call.model, created, begun))
    last = wire.last_chunk(record, call, None, call.model, created)
    if in_pieces:  # what it calls is told already
        last["choices"][0]["delta"] = {}
    yield event(last)
    if call.usage_chunk:
        yield event(wire.usage_chunk((record,), call, call.model, created))
