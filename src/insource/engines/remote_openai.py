"""The OpenAI chat wire: conversations out, answers and chunks in. Source: OpenAI API reference, chat completions."""

import math
from collections.abc import Sequence

from insource.engines.dialects import found
from insource.engines.remote_chunk import quick
from insource.engines.remote_sure import Token
from insource.engines.remote_turn import Turn
from insource.engines.remote_wire import Heard, Wire
from insource.nouns import JsonObject, JsonValue, Message, Request

ROUNDED = 0.01


def said(messages: Sequence[Message], request: Request) -> JsonObject:
    """The messages, and the caller's tools where no task is answered."""
    turns = [Turn(one.role, one.content, one.name, one.tool_calls, one.tool_call_id) for one in messages]
    whole: JsonObject = {"messages": turns}
    if request.task is None and request.tools is not None:
        whole["tools"] = request.tools
    if request.task is None and request.tool_choice is not None:
        whole["tool_choice"] = request.tool_choice
    return whole


def take(heard: Heard, data: JsonObject, part: str) -> str:
    """Adds an answer or a chunk; returns its text."""
    for path in heard.dialect.usage:
        if used := found(data, path):
            heard.spent(used.get("prompt_tokens"), used.get("completion_tokens"))
    choices = [choice for choice in data["choices"] if not choice.get("index")]
    if not choices:
        if part == "message":
            raise KeyError("choices")
        return ""
    first = choices[0]
    message = first.get(part) or {}
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise TypeError("content is no text")
    heard.say(content)
    heard.refusal += message.get("refusal") or ""
    heard.reason = first.get("finish_reason") or heard.reason
    if calls := message.get("tool_calls"):
        _call(heard, calls)
    if (logprobs := first.get("logprobs")) is not None:
        heard.tokens += TOKENS[heard.dialect.tokens](logprobs, content)
    return content


def token(data: JsonObject) -> Token:
    """One token of `logprobs.content`, with the likeliest others in its place. Raises ValueError for what is none."""
    others = data.get("top_logprobs") or []
    return Token(_raw(data), _log(data["logprob"]), tuple((_raw(one), _log(one["logprob"])) for one in others))


def _call(heard: Heard, calls: JsonValue) -> None:
    for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
        function = call.get("function") or {}
        heard.call(
            int(call.get("index", position)),
            id=str(call.get("id") or ""),
            name=function.get("name") or "",
            arguments=function.get("arguments") or "",
        )


def _content(logprobs: JsonValue, _: str) -> list[Token]:
    return [token(one) for one in (logprobs or {}).get("content") or []]


def _lists(logprobs: JsonValue, content: str) -> list[Token]:
    """Parallel lists in an answer; in a stream one number a chunk."""
    if isinstance(logprobs, int | float):
        return [Token(content.encode(), _log(logprobs))] if content else []
    known = logprobs or {}
    pairs = zip(known.get("tokens") or [], known.get("token_logprobs") or [], strict=True)
    return [Token(str(text).encode(), _log(logprob)) for text, logprob in pairs if logprob is not None]


def _raw(data: JsonObject) -> bytes:
    given = data.get("bytes")
    if not isinstance(given, list | None):
        raise TypeError("the bytes of a token are no list")
    return bytes(given) if given is not None else str(data["token"]).encode()


def _log(said: JsonValue) -> float:
    """A log probability, at most 0. Rounding may lift it a little above."""
    if not isinstance(said, int | float) or not -math.inf < said <= ROUNDED:
        raise ValueError(f"{said!r} is no log probability")
    return min(float(said), 0.0)


TOKENS = {"content": _content, "lists": _lists}
OPENAI = Wire(said, take, quick=quick)
