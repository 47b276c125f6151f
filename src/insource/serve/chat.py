"""POST /v1/chat/completions: read the call, answer it through the journey, say it as OpenAI does."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Blocked, EngineError, Invalid, OutputInvalid, ScanFailed
from insource.journeys.answer import Path, answer, broken_off
from insource.journeys.relay import relay
from insource.nouns import Key, Record, to_json
from insource.serve import wire
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.faults import NOT_KEPT, TooLarge, error_response
from insource.serve.stream import EventStream, event


async def chat(http: HttpRequest) -> ASGIApp:
    """Answers one chat call."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    call = wire.read_call(await read_body(http, desk.settings.serve.max_body_bytes))
    desk.check(key, call.model)
    if call.stream and desk.passes_through(call.model):
        return await _live(desk, call, key)
    async with desk.lend(call.model) as path:
        request = wire.to_request(call, path.task, id=uuid.uuid4().hex, key=key, deadline=path.deadline)
        with desk.meter.hold(key, request, path) as request:
            try:
                record = await answer(request, path, desk.keep)
            except (EngineError, Blocked, ScanFailed) as error:
                return error_response(error, {"x-request-id": request.id, "x-insource-record": request.id})
            except asyncio.CancelledError:
                await broken_off(request, path, desk.keep)
                raise
    return _answered(record, call, path)


async def read_body(http: HttpRequest, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to exceed `limit` bytes, `Invalid` if it breaks off."""
    declared = http.headers.get("content-length", "")
    pieces, size = [], int(declared) if declared.isdecimal() else 0
    too_large = TooLarge(f"the body is larger than {limit:,} bytes", hint="serve.max_body_bytes sets the limit")
    if size > limit:
        raise too_large
    size = 0
    try:
        async for piece in http.stream():
            size += len(piece)
            if size > limit:
                raise too_large
            pieces.append(piece)
    except ClientDisconnect as error:
        raise Invalid("the caller left before the end of its body") from error
    return b"".join(pieces)


def headers(record: Record) -> dict[str, str]:
    """What every answer carries."""
    facts = wire.facts(record)
    confidence = facts["confidence"]
    return NOT_KEPT | {
        "x-request-id": record.id,
        "x-insource-record": record.id,
        "x-insource-release": quote(str(facts["release"]), safe="@+"),
        "x-insource-tier": str(facts["tier"]),
        "x-insource-confidence": "" if confidence is None else f"{confidence:.6f}",
        "x-insource-decision": str(facts["decision"]),
    }


def _answered(record: Record, call: wire.ChatCall, path: Path) -> ASGIApp:
    said = record.answer
    if path.task is not None and (said is None or said.value is None):
        reason = record.attempts[-1].decision.reason
        error = OutputInvalid(f"no engine gave a valid answer: {reason}", hint=f"it waits for a person as {record.id}")
        return error_response(error, headers(record))
    created = int(time.time())
    if not call.stream:
        body = to_json(wire.completion(record, call, path.task, created))
        return Response(body, 200, headers(record), "application/json")
    model = record.release or call.model
    first = event(wire.chunk(record.id, call, model, created, {"role": "assistant", "content": ""}))
    return EventStream(first, _decided(record, call, path, created), headers(record))


async def _decided(record: Record, call: wire.ChatCall, path: Path, created: int) -> AsyncGenerator[bytes]:
    model = record.release or call.model
    content = wire.content_of(record, path.task)
    if content:
        yield event(wire.chunk(record.id, call, model, created, {"content": content}))
    for last in wire.last_chunks(record, call, path.task, model, created):
        yield event(last)


async def _live(desk: Desk, call: wire.ChatCall, key: Key) -> ASGIApp:
    """Streams an engine's words as they come; an error before the first of them is a plain error answer."""
    name = uuid.uuid4().hex
    events = _passed_on(desk, call, key, name)
    first = await anext(events)
    said = {"x-request-id": name, "x-insource-record": name, "x-insource-release": quote(call.model, safe="@+")}
    said |= {"x-insource-tier": "1", "x-insource-confidence": "", "x-insource-decision": "answered"}
    return EventStream(first, events, said)


async def _passed_on(desk: Desk, call: wire.ChatCall, key: Key, id: str) -> AsyncGenerator[bytes]:
    created, begun = int(time.time()), {"role": "assistant", "content": ""}
    async with desk.lend(call.model) as path:
        request = wire.to_request(call, None, id=id, key=key, deadline=path.deadline)
        with desk.meter.hold(key, request, path) as request:
            async with aclosing(relay(request, path, desk.keep)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        yield event(wire.chunk(id, call, call.model, created, begun | {"content": piece}))
                        begun = {}
                        continue
                    if begun:
                        yield event(wire.chunk(id, call, call.model, created, begun))
                    for last in wire.last_chunks(piece, call, None, call.model, created):
                        yield event(last)
