"""A chat call's body as it comes in, and what the call came to as an answer."""

import time

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Invalid, OutputInvalid
from insource.nouns import to_json
from insource.serve import wire
from insource.serve.ask import Answered, Unanswered
from insource.serve.chat_call import ChatCall
from insource.serve.chunks import BEGUN, decided
from insource.serve.exchange import Exchange, exchange_of
from insource.serve.faults import TooLarge, error_response
from insource.serve.headers import headers, headers_of
from insource.serve.hosts import given
from insource.serve.leaving import Gone, WhileThere
from insource.serve.said import Said
from insource.serve.stream import Events, EventStream, event

NO_RETRY = {"x-should-retry": "false"}  # what waits for a person is not asked again
LEFT_STATUS = 499  # nobody reads it; as nginx writes it in its log


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


def answered(found: Answered, call: ChatCall) -> ASGIApp:
    """What the call came to, whole or as a stream."""
    record, task = found.records[0], found.path.task
    refused = no_answer(found)
    if refused is not None:
        return error_response(refused, headers(record) | NO_RETRY)
    created = int(time.time())
    if not call.stream:
        body = wire.completion(found.records, call, task, created)
        return Said(to_json(body), headers_of(body["insource"]))
    first = event(wire.chunk(record.id, call, record.release or call.model, created, BEGUN))
    return EventStream(first, decided(found, call, created), headers(record))


def no_answer(answered: Answered) -> OutputInvalid | None:
    """What a task's caller is told when no engine gave a valid answer."""
    record = answered.records[0]
    said = record.answer
    if answered.path.task is None or (said is not None and said.value is not None):
        return None
    reason = record.attempts[-1].decision.reason
    return OutputInvalid(f"no engine gave a valid answer: {reason}", hint=f"it waits for a person as {record.id}")


async def live(events: Events, said: dict[str, str], exchange: Exchange) -> ASGIApp:
    """Streams an engine's words as they come; an error before the first of them is a plain error answer."""
    try:
        with WhileThere(exchange):
            first = await anext(events)
    except Gone:
        return left()
    return EventStream(first, events, said, begun=True)
