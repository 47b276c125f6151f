"""POST /v1/completions, OpenAI's older API: each prompt is asked as one user's message.

Source: OpenAI API reference, completions. What goes on behind a prompt is no conversation there; here the model's own
form of one stands around it, as around any other call.
"""

import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.engines.together import together
from insource.errors import Invalid
from insource.journeys.relay import Told
from insource.nouns import JsonObject, JsonValue, Record, Task, record_id, to_json
from insource.serve import wire
from insource.serve.answered import NO_RETRY, left, live, no_answer, read_body, unanswered
from insource.serve.ask import Answered, Asked, Unanswered, ask
from insource.serve.auth import key_of
from insource.serve.chat_call import ChatCall, StreamOptions, WireMessage
from insource.serve.desk import Desk
from insource.serve.exchange import exchange_of
from insource.serve.faults import error_response
from insource.serve.headers import headers, live_headers, names
from insource.serve.leaving import Gone
from insource.serve.relayed import relayed
from insource.serve.stream import GAP, Events, EventStream, Words, event, events_of

MOST_PROMPTS = 128
MOST_CHOICES = 128  # of all prompts together: each costs a call of its own


class TextCall(msgspec.Struct, kw_only=True):
    """The body of POST /v1/completions."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    prompt: JsonValue
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


async def completions(http: HttpRequest) -> ASGIApp:
    """Answers one call."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    text = read_text(await read_body(http, desk.settings.serve.max_body_bytes))
    desk.check(key, text.model)
    calls = [Asked(call, key, await desk.name(call, key), http.scope["headers"]) for call in as_chats(text)]
    if text.stream and len(calls) == 1 and (text.n or 1) == 1 and desk.passes_through(calls[0].call.model):
        said = live_headers(name := record_id(), calls[0].call.model)
        events = events_of(relayed(desk, calls[0], name, names(said)), _Pieces(calls[0].call, name, said).events)
        return await live(events, said, exchange_of(http.scope))
    try:
        answers = await together([ask(desk, call, exchange_of(http.scope)) for call in calls])
    except Unanswered as failed:
        return unanswered(failed)
    except Gone:
        return left()
    for answered in answers:
        refused = no_answer(answered)
        if refused is not None:
            return error_response(refused, headers(answered.records[0]) | NO_RETRY)
    return _answered(answers, calls[0].call)


def read_text(body: bytes) -> TextCall:
    """The call that `body` spells. Raises `Invalid` naming the field."""
    call = wire.read(body, TextCall, "a completion call")
    for name in ("echo", "suffix"):
        if getattr(call, name):
            raise Invalid(f"{name} is not supported", hint=f"leave {name} out", at=name)
    if (call.best_of or 1) > 1:
        raise Invalid("best_of is more than 1", hint="ask for n choices and take the best", at="best_of")
    return call


def as_chats(said: TextCall) -> list[ChatCall]:
    """A chat call for each prompt. Raises `Invalid` for prompts that are no texts, and for more than 128 choices."""
    prompts = said.prompt if isinstance(said.prompt, list) else [said.prompt]
    if not 1 <= len(prompts) <= MOST_PROMPTS or not all(isinstance(prompt, str) for prompt in prompts):
        words = f"prompt is a text, or a list of 1 to {MOST_PROMPTS} of them; tokens are not taken"
        raise Invalid(words, at="prompt")
    if len(prompts) * (said.n or 1) > MOST_CHOICES:
        words = f"{len(prompts)} prompts with {said.n} choices each are more than {MOST_CHOICES} choices"
        raise Invalid(words, hint="send fewer prompts, or ask for fewer choices", at="n")
    return [
        ChatCall(
            model=said.model,
            messages=[WireMessage(role="user", content=prompt)],
            stream=said.stream,
            stream_options=said.stream_options,
            n=said.n,
            max_tokens=said.max_tokens,
            temperature=said.temperature,
            seed=said.seed,
            stop=said.stop,
        )
        for prompt in prompts
    ]


def _answered(answers: Sequence[Answered], call: ChatCall) -> ASGIApp:
    task, records = answers[0].path.task, [record for one in answers for record in one.records]
    first, created = records[0], int(time.time())
    choices = [_choice(record, call, task, index) for index, record in enumerate(records)]
    if not call.stream:
        body = _body(first.id, call, created, choices) | {"usage": wire.usage_of(records)}
        return Response(to_json(body | {"insource": wire.facts(first)}), 200, headers(first), "application/json")
    events = [event(_body(first.id, call, created, [choice])) for choice in choices]
    if call.usage_chunk:
        events.append(event(_body(first.id, call, created, []) | {"usage": wire.usage_of(records)}))
    return EventStream(events[0], _each(events[1:]), headers(first))


async def _each(events: Sequence[bytes]) -> Events:
    for one in events:
        yield one


class _Pieces:
    """What becomes of an engine's words and of the record behind them. `said` is told what the record says of them."""

    def __init__(self, call: ChatCall, id: str, said: dict[str, str]) -> None:
        self._call, self._said, self._created = call, said, int(time.time())
        self._words = Words(_body(id, call, self._created, [_piece("") | {"text": GAP}]))

    def events(self, told: list[Told]) -> bytes:
        """The events of what was told at once. Of calls there is nothing to tell: this API has no functions."""
        return b"".join([self._event(piece) for piece in told])

    def _event(self, piece: Told) -> bytes:
        if isinstance(piece, str):
            return self._words.event(piece)
        if not isinstance(piece, Record):
            return b""
        self._said |= headers(piece)
        return _ended(piece, self._call, self._created)


def _ended(record: Record, call: ChatCall, created: int) -> bytes:
    end = _piece("") | {"finish_reason": wire.finish_of(record.answer, call)}
    last = event(_body(record.id, call, created, [end]) | {"insource": wire.facts(record)})
    if not call.usage_chunk:
        return last
    return last + event(_body(record.id, call, created, []) | {"usage": wire.usage_of((record,))})


def _choice(record: Record, call: ChatCall, task: Task | None, index: int) -> JsonObject:
    ended = {"finish_reason": wire.finish_of(record.answer, call)}
    return _piece(wire.content_of(record, task)) | {"index": index} | ended


def _piece(text: str) -> JsonObject:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": None}


def _body(id: str, call: ChatCall, created: int, choices: list[JsonObject]) -> JsonObject:
    model = call.model
    return {"id": f"cmpl-{id}", "object": "text_completion", "created": created, "model": model, "choices": choices}
