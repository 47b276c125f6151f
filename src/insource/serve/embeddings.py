"""POST /v1/embeddings: texts passed to an engine that has vectors for them. Source: OpenAI API reference."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Blocked, EngineError, Invalid, ScanFailed
from insource.journeys.embed import embed
from insource.nouns import JsonObject, JsonValue, Message, Request, record_id, to_json
from insource.serve import wire
from insource.serve.answered import left, read_body, unanswered
from insource.serve.ask import Unanswered
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.exchange import exchange_of
from insource.serve.headers import headers
from insource.serve.leaving import Gone, WhileThere

MOST_TEXTS = 2048


class EmbeddingCall(msgspec.Struct, kw_only=True):
    """The body of POST /v1/embeddings."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: JsonValue
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None


async def embeddings(http: HttpRequest) -> ASGIApp:
    """Answers one call."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    call = wire.read(await read_body(http, desk.settings.serve.max_body_bytes), EmbeddingCall, "an embedding call")
    desk.check(key, call.model)
    texts = texts_of(call.input)
    if not desk.passes_through(call.model) and call.model in await desk.models():
        raise Invalid(f"{call.model!r} is a task; embeddings come from an engine", at="model")
    wanted = {"encoding_format": call.encoding_format, "dimensions": call.dimensions}
    async with desk.lend(call.model) as path:
        messages = tuple(Message(role="user", content=text) for text in texts)
        request = Request(id=record_id(), model=call.model, messages=messages, max_tokens=1, tenant=key.tenant,
                          caller=key.name, deadline=path.deadline)  # fmt: skip
        with await desk.meter.take(key, request, path) as request, desk.seeing.call(request, "embeddings") as request:
            try:
                with WhileThere(exchange_of(http.scope)) as there:
                    record, vectors = await embed(request, desk.seeing.path(path), there.sealing(desk.keep), wanted)
            except Gone:
                return left()
            except (EngineError, Blocked, ScanFailed) as error:
                return unanswered(Unanswered(error, request.id))
    usage = wire.usage_of((record,))
    body: JsonObject = {"object": "list", "data": vectors, "model": call.model, "insource": wire.facts(record)}
    body["usage"] = {name: usage[name] for name in ("prompt_tokens", "total_tokens")}
    return Response(to_json(body), 200, headers(record), "application/json")


def texts_of(given: JsonValue) -> list[str]:
    """The texts of a call. Raises `Invalid` for what is none, is empty, or too many."""
    texts = given if isinstance(given, list) else [given]
    if not 1 <= len(texts) <= MOST_TEXTS or not all(isinstance(text, str) and text for text in texts):
        words = f"input is a text, or a list of 1 to {MOST_TEXTS:,} of them, none empty; tokens are not taken"
        raise Invalid(words, at="input")
    return texts
