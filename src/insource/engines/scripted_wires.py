"""What scripted servers say, in the form of each wire: whole answers, pieces of streams, errors. Pure.

Held to the published formats: what is made here without a fault parses in the vendors' own client packages, checked
strictly. Sources: the API references of OpenAI, Anthropic, Ollama, Groq, Together and Text Generation Inference.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.engines.dialects import Dialect
from insource.engines.scripted_faults import At
from insource.nouns import JsonObject, JsonValue, Noun

Fault = Literal["", "reset", "half", "bad_json", "no_end", "redirect", "endless", "error_event"]
SAID = "as the script says"
TYPES = {401: "authentication_error", 429: "rate_limit_exceeded"}
Piece = tuple[str, JsonObject]  # the event's name, where the wire has names, and its data


class Written(Noun, frozen=True, kw_only=True):
    """A token of an answer: its text, its log probability, and the likeliest tokens in its place."""

    text: str
    logprob: float = -0.01
    others: dict[str, float] = {}


class Reply(Noun, frozen=True, kw_only=True):
    """One line of the script: for which input (`match` as in `scripted.Rule`), what is said, and what goes wrong.

    `finish` is in OpenAI's words, whatever the wire. `status` other than 200 answers with an error body (and `code`
    in it), `retry_after` with that header. `rejects` answers 400 while the request has one of these fields. Faults:
    reset (no answer), half (cut in the middle), bad_json, no_end (a stream without its end mark), redirect, endless
    (an answer without end), error_event (an error in the stream). `logprob` is given to every token, None sends
    none; `tokens` spells the answer in tokens of its own instead; `usage` False leaves the counts out. `times` uses
    the reply up. `play` is a fault of `scripted_faults`, which happens `at` a place of the answer. A stream
    is written in slices of `slice_bytes` (0 = event by event), with `newline` ends. In a stream the arguments of calls
    come in pieces of `call_letters` (0 = whole), where the wire has pieces of calls.
    """

    match: str = "*"
    text: str = "ok"
    refusal: str | None = None
    finish: str = "stop"
    tool_calls: tuple[JsonObject, ...] = ()
    delay_s: Annotated[float, Meta(ge=0.0)] = 0.0
    status: int = 200
    code: str | None = None
    retry_after: str = ""
    rejects: tuple[str, ...] = ()
    fault: Fault = ""
    play: str = ""
    at: At = "before"
    logprob: float | None = -0.01
    tokens: tuple[Written, ...] = ()
    usage: bool = True
    times: int = 0
    slice_bytes: int = 0
    call_letters: int = 0
    newline: str = "\n"

    @property
    def written(self) -> tuple[Written, ...]:
        """The answer in tokens: those of the script, else one per four letters."""
        if self.tokens or not self.text:
            return self.tokens
        pieces = [self.text[at : at + 4] for at in range(0, len(self.text), 4)]
        return tuple(Written(text=piece, logprob=self.logprob or 0.0) for piece in pieces)

    def parts(self, arguments: str) -> list[str]:
        """The arguments of a call, in the pieces of a stream."""
        most = self.call_letters or len(arguments) or 1
        return [arguments[at : at + most] for at in range(0, len(arguments), most)] or [""]

    @property
    def said(self) -> str:
        """The whole text."""
        return "".join(one.text for one in self.tokens) or self.text


@dataclass(frozen=True)
class Told:
    """A reply on its way: what was asked, of which dialect and model, and the number of the call."""

    reply: Reply
    asked: JsonObject
    dialect: Dialect
    model: str
    number: int


@dataclass(frozen=True)
class Script:
    """How a wire says it: a whole answer, the pieces of a stream (without the end mark), an error.

    `failed` is the piece that tells of an error in a stream; `end` the bytes after the last piece; `lines`: pieces
    are JSON lines, not events; `closing`: how many of the pieces are the end mark.
    """

    whole: Callable[[Told], JsonObject]
    pieces: Callable[[Told], list[Piece]]
    error: Callable[[Dialect, int, str, str | None, str | None], JsonObject]
    failed: Piece
    end: str = ""
    lines: bool = False
    closing: int = 0


# ------------------------------------------------------------------ OpenAI and its kin


def _openai_whole(told: Told) -> JsonObject:
    reply = told.reply
    message: JsonObject = {"role": "assistant", "content": reply.said or None, "refusal": reply.refusal}
    if reply.tool_calls:
        numbered = [{**call, "index": i} for i, call in enumerate(reply.tool_calls)]
        message["tool_calls"] = numbered if told.dialect.calls == "numbered" else list(reply.tool_calls)
    logprobs = _openai_logprobs(told.dialect, reply, reply.written)
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": reply.finish}
    return _head(told, "chat.completion") | {"choices": [choice]} | ({"usage": _count(reply)} if reply.usage else {})


def _openai_pieces(told: Told) -> list[Piece]:
    reply, dialect = told.reply, told.dialect
    deltas: list[tuple[JsonObject, Sequence[Written]]] = [({"content": ""}, ())]
    deltas += [({"content": one.text}, (one,)) for one in reply.written]
    if reply.refusal:
        deltas.append(({"refusal": reply.refusal}, ()))
    calls: list[JsonObject] = [{**call, "index": i} for i, call in enumerate(reply.tool_calls)]
    if calls and reply.call_letters:
        deltas += [({"tool_calls": [part]}, ()) for call in calls for part in _call_parts(reply, call)]
    elif calls:
        deltas.append(({"tool_calls": calls[0] if dialect.calls == "one" else calls}, ()))
    chunks = [_chunk(told, delta, None, tokens) for delta, tokens in deltas]
    chunks.append(_chunk(told, {}, reply.finish, ()))
    wanted = bool((told.asked.get("stream_options") or {}).get("include_usage"))
    unasked = not any("stream_options" in form for form in dialect.says["stream"])
    if reply.usage and unasked:
        _put(chunks[-1], dialect.usage[-1], _count(reply))
    elif reply.usage and wanted:
        chunks.append(_head(told, "chat.completion.chunk") | {"choices": [], "usage": _count(reply)})
    return [("", chunk) for chunk in chunks]


def _call_parts(reply: Reply, call: JsonObject) -> list[JsonObject]:
    """A call as OpenAI streams it: its name first, then its arguments."""
    pieces = reply.parts(call["function"]["arguments"])
    head = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
    return [head, *({"index": call["index"], "function": {"arguments": piece}} for piece in pieces)]


def _chunk(told: Told, delta: JsonObject, finish: str | None, tokens: Sequence[Written]) -> JsonObject:
    single: JsonObject = {"tool_calls": None} if told.dialect.calls == "one" else {}
    logprobs = _openai_logprobs(told.dialect, told.reply, tokens)
    if told.dialect.tokens == "lists" and logprobs is not None:
        logprobs = logprobs["token_logprobs"][0]
    whole = {"role": "assistant", **single, **delta}
    choice = {"index": 0, "delta": whole, "logprobs": logprobs, "finish_reason": finish}
    return _head(told, "chat.completion.chunk") | {"choices": [choice]}


def _head(told: Told, kind: str) -> JsonObject:
    head = {"id": f"chatcmpl-{told.number}", "object": kind, "created": int(time.time()), "model": told.model}
    return head | told.dialect.answers


def _openai_logprobs(dialect: Dialect, reply: Reply, tokens: Sequence[Written]) -> JsonValue:
    if (reply.logprob is None and not reply.tokens) or not tokens:
        return None
    if dialect.tokens == "lists":
        return {"tokens": [one.text for one in tokens], "token_logprobs": [one.logprob for one in tokens]}
    return {"content": [_token(one) for one in tokens], "refusal": None}


def _token(one: Written) -> JsonObject:
    others = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in one.others.items()]
    raw = list(one.text.encode())
    return {"token": one.text, "logprob": one.logprob, "bytes": raw, "top_logprobs": others}


def _count(reply: Reply) -> JsonObject:
    out = len(reply.written)
    return {"prompt_tokens": 10, "completion_tokens": out, "total_tokens": 10 + out}


def _put(data: JsonObject, path: str, value: JsonValue) -> None:
    *steps, last = path.split(".")
    for step in steps:
        data[step] = dict(data.get(step) or {})
        data = data[step]
    data[last] = value


def _openai_error(dialect: Dialect, status: int, message: str, param: str | None, code: str | None) -> JsonObject:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if dialect.errors == "text":
        kinds = {429: "overloaded", 422: "validation", 424: "generation"}
        return {"error": message, "error_type": kinds.get(status, "generation")}
    error = {"message": message, "type": kind, "param": param, "code": code}
    return error | {"object": "error", "code": status} if dialect.errors == "flat" else {"error": error}


# ------------------------------------------------------------------ Anthropic

STOPS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _anthropic_whole(told: Told) -> JsonObject:
    blocks = [block for block, _ in _blocks(told)]
    return _message(told) | {"content": blocks, **_stopped(told), "usage": _spent(told.reply, whole=True)}


def _anthropic_pieces(told: Told) -> list[Piece]:
    start = _message(told) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = _spent(told.reply, whole=False)
    events: list[JsonObject] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(_blocks(told)):
        nothing: JsonObject = {"text": ""} if block["type"] == "text" else {"input": {}}
        empty = block | nothing
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    out = _spent(told.reply, whole=True)["output_tokens"]
    events.append({"type": "message_delta", "delta": _stopped(told), "usage": {"output_tokens": out}})
    events.append({"type": "message_stop"})
    return [(event["type"], event) for event in events]


def _blocks(told: Told) -> list[tuple[JsonObject, list[JsonObject]]]:
    """Each block of content with the pieces it comes in; the tool that is forced holds the text, which is JSON."""
    reply, found = told.reply, []
    forced = (told.asked.get("tool_choice") or {}).get("name") if not reply.refusal else None
    pieces = [one.text for one in reply.written]
    if forced:
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        block = {"type": "tool_use", "id": "toolu_1", "name": forced, "input": _parsed(reply.said)}
        found.append((block, deltas))
    elif reply.said:
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        found.append(({"type": "text", "text": reply.said}, deltas))
    for call in reply.tool_calls:
        function = call["function"]
        block = {
            "type": "tool_use",
            "id": call["id"],
            "name": function["name"],
            "input": _parsed(function["arguments"]),
        }
        parts = reply.parts(function["arguments"])
        found.append((block, [{"type": "input_json_delta", "partial_json": part} for part in parts]))
    return found


def _parsed(text: str) -> JsonValue:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"text": text}


def _message(told: Told) -> JsonObject:
    return {"id": f"msg_{told.number}", "type": "message", "role": "assistant", "model": told.model}


def _stopped(told: Told) -> JsonObject:
    reply = told.reply
    reason = "refusal" if reply.refusal else STOPS.get(reply.finish, reply.finish)
    details = {"type": "refusal", "category": None, "explanation": reply.refusal} if reason == "refusal" else None
    return {"stop_reason": reason, "stop_sequence": None, "stop_details": details}


def _spent(reply: Reply, *, whole: bool) -> JsonObject:
    """Anthropic always counts: without `usage` the counts are zero."""
    read, out = (10, len(reply.written)) if reply.usage else (0, 0)
    return {"input_tokens": read, "output_tokens": out if whole else 0}


def _anthropic_error(_: Dialect, status: int, message: str, param: str | None, __: str | None) -> JsonObject:
    said = f"{param}: {message}" if param else message
    kind = ANTHROPIC_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_1"}


# ------------------------------------------------------------------ Ollama


def _ollama_whole(told: Told) -> JsonObject:
    message = {"role": "assistant", "content": told.reply.said} | _ollama_calls(told.reply)
    return _line(told, message, told.reply.written) | _done(told.reply)


def _ollama_pieces(told: Told) -> list[Piece]:
    reply = told.reply
    lines = [_line(told, {"role": "assistant", "content": one.text}, (one,)) for one in reply.written]
    if reply.tool_calls:
        lines.append(_line(told, {"role": "assistant", "content": ""} | _ollama_calls(reply), ()))
    lines.append(_line(told, {"role": "assistant", "content": ""}, ()) | _done(reply))
    return [("", line) for line in lines]


def _line(told: Told, message: JsonObject, tokens: Sequence[Written]) -> JsonObject:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"model": told.model, "created_at": stamp, "message": message, "done": False}
    given = told.asked.get("logprobs") and tokens and (told.reply.tokens or told.reply.logprob is not None)
    return line | ({"logprobs": [_token(one) for one in tokens]} if given else {})


def _done(reply: Reply) -> JsonObject:
    counts = {"prompt_eval_count": 10, "eval_count": len(reply.written)} if reply.usage else {}
    reason = reply.finish if reply.finish in ("stop", "length") else "stop"
    return {"done": True, "done_reason": reason, "total_duration": 1_000_000, **counts}


def _ollama_calls(reply: Reply) -> JsonObject:
    calls = [call["function"] for call in reply.tool_calls]
    made = [{"function": {"name": one["name"], "arguments": _parsed(one["arguments"])}} for one in calls]
    return {"tool_calls": made} if made else {}


def _ollama_error(_: Dialect, __: int, message: str, param: str | None, ___: str | None) -> JsonObject:
    return {"error": f"{message}" + (f" ({param})" if param else "")}


SCRIPTS = {
    "openai": Script(
        _openai_whole,
        _openai_pieces,
        _openai_error,
        failed=("", {"error": {"message": SAID, "type": "server_error"}}),
        end="data: [DONE]",
    ),
    "anthropic": Script(
        _anthropic_whole,
        _anthropic_pieces,
        _anthropic_error,
        failed=("error", {"type": "error", "error": {"type": "overloaded_error", "message": SAID}}),
        closing=1,
    ),
    "ollama": Script(_ollama_whole, _ollama_pieces, _ollama_error, failed=("", {"error": SAID}), lines=True, closing=1),
}
