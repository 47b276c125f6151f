"""POST /v1/chat/completions: read the call, answer it through the journey, say it as OpenAI does."""

from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp

from insource.nouns import record_id
from insource.serve import wire
from insource.serve.answered import answered, left, live, read_body, unanswered
from insource.serve.ask import Asked, Unanswered, ask
from insource.serve.auth import key_of
from insource.serve.chunks import Chunks
from insource.serve.desk import Desk
from insource.serve.exchange import exchange_of
from insource.serve.headers import live_headers, names
from insource.serve.leaving import Gone
from insource.serve.relayed import relayed
from insource.serve.stream import events_of


async def chat(http: HttpRequest) -> ASGIApp:
    """Answers one chat call."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    call = wire.read_call(await read_body(http, desk.settings.serve.max_body_bytes))
    desk.check(key, call.model)
    asked = Asked(call, key, await desk.name(call, key), http.scope["headers"])
    if call.stream and (call.n or 1) == 1 and desk.passes_through(call.model):
        said = live_headers(name := record_id(), call.model)
        events = events_of(relayed(desk, asked, name, names(said)), Chunks(call, name, said).events)
        return await live(events, said, exchange_of(http.scope))
    try:
        return answered(await ask(desk, asked, exchange_of(http.scope)), call)
    except Unanswered as failed:
        return unanswered(failed)
    except Gone:
        return left()
