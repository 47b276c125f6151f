"""POST /v1/chat/completions: read the call, answer it through the journey, say it as OpenAI does."""

import time
from functools import lru_cache
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Invalid, OutputInvalid
from insource.journeys.relay import Begins, Begun, Told
from insource.nouns import JsonObject, Record, record_id, to_json
from insource.serve import wire
from insource.serve.ask import Answered, Asked, Unanswered, ask, relayed
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.exchange import Exchange, exchange_of
from insource.serve.faults import NOT_KEPT, TooLarge, error_response
from insource.serve.hosts import given
from insource.serve.leaving import Gone, WhileThere
from insource.serve.said import Said
from insource.serve.stream import GAP, Events, EventStream, Words, event, events_of

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
        events = events_of(relayed(desk, asked, name, names(said)), _Chunks(call, name, said).events)
        return await live(events, said, exchange_of(http.scope))
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


async def _decided(answered: Answered, call: wire.ChatCall, created: int) -> Events:
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


async def live(events: Events, said: dict[str, str], exchange: Exchange) -> ASGIApp:
    """Streams an engine's words as they come; an error before the first of them is a plain error answer."""
    try:
        with WhileThere(exchange):
            first = await anext(events)
    except Gone:
        return left()
    return EventStream(first, events, said, begun=True)


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


class _Chunks:
    """What becomes of an engine's words and of the record behind them. `said` is told what the record says of them."""

    def __init__(self, call: wire.ChatCall, id: str, said: dict[str, str]) -> None:
        self._call, self._id, self._said = call, id, said
        self._created, self._begun, self._in_pieces = int(time.time()), BEGUN, False
        self._words = Words(self._chunk({"content": GAP}))

    def events(self, told: list[Told]) -> bytes:
        """The events of what was told at once."""
        return b"".join([self._event(piece) for piece in told])

    def _event(self, piece: Told) -> bytes:
        begun, self._begun = self._begun, {}
        if isinstance(piece, str):
            return event(self._chunk(begun | {"content": piece})) if begun else self._words.event(piece)
        if isinstance(piece, Record):
            self._said |= headers(piece)
            return (event(self._chunk(begun)) if begun else b"") + self._ended(piece)
        self._in_pieces = True
        return event(self._chunk((begun | {"content": None} if begun else {}) | wire.call_delta(piece)))

    def _ended(self, record: Record) -> bytes:
        last = wire.last_chunk(record, self._call, None, self._call.model, self._created)
        if self._in_pieces:  # what it calls is told already
            last["choices"][0]["delta"] = {}
        if not self._call.usage_chunk:
            return event(last)
        return event(last) + event(wire.usage_chunk((record,), self._call, self._call.model, self._created))

    def _chunk(self, delta: JsonObject) -> JsonObject:
        return wire.chunk(self._id, self._call, self._call.model, self._created, delta)
