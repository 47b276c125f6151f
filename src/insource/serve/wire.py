"""OpenAI's JSON ↔ our nouns. What is not listed here is ignored, and never passed on."""

import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from insource.decode.check import render, schema_of
from insource.errors import Invalid
from insource.nouns import (
    DEEPEST,
    CallPiece,
    JsonObject,
    Key,
    Message,
    Prediction,
    Record,
    Request,
    Task,
    canonical,
    depth_ok,
)
from insource.serve.chat_call import ChatCall, WireMessage
from insource.serve.turns import check_turn

T = TypeVar("T")
FINISH = {"stop": "stop", "length": "length", "refusal": "content_filter", "invalid": "stop"}
MOST_PARTS = 10_000
LARGE = 65_536  # bytes: a smaller body cannot hold so many parts that looking at them takes long
OUT_OF_SCOPE = "this is out of the task's scope; it waits for a person"
NEVER = -9999.0  # what OpenAI says for the logarithm of nothing


def read(body: bytes, form: type[T], what: str) -> T:
    """The JSON of `body` as a `form`, which is called `what`. Raises `Invalid` naming the field."""
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        at = re.search(r"at `\$\.?([^`]*)`", str(error))
        raise Invalid(f"the body is not {what}: {error}", at=at.group(1) if at else "") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid(f"the body is not JSON: {error}", hint="send a JSON object with a model") from error


def read_call(body: bytes) -> ChatCall:
    """The chat call that `body` spells. Raises `Invalid` naming the field."""
    call = read(body, ChatCall, "a chat call")
    if len(body) > LARGE:
        _check_count(call)
    deep = [part for each in call.messages for part in (each.content, each.tool_calls) if isinstance(part, list)]
    if deep or call.response_format or call.tools or call.tool_choice:
        if not depth_ok([deep]) or not depth_ok([call.response_format, call.tools, call.tool_choice]):
            raise Invalid(f"the body nests more than {DEEPEST} levels of JSON")
        for index, message in enumerate(call.messages):
            check_turn(message.content, message.tool_calls, f"messages[{index}]")
    if b"\\u" in body:  # UTF-8 has no way to spell half a pair
        _check_text(call)
    return call


def to_request(call: ChatCall, task: Task | None, *, id: str, key: Key, deadline: float = 60.0) -> Request:
    """The request for a task or, without one, for an engine. Raises `Invalid` where the call contradicts the task.

    It is that of the key's tenant. `deadline` is seconds from now.
    """
    if task is not None:
        _check_task_call(call, task)
    return Request(
        id=id,
        task=task,
        model=call.model,
        messages=tuple([_message(message) for message in call.messages]),
        tools=call.tools,
        tool_choice=call.tool_choice,
        response_format=call.response_format,
        max_tokens=call.max_completion_tokens or call.max_tokens,
        stop=(call.stop,) if isinstance(call.stop, str) else tuple(call.stop or ()),
        temperature=1.0 if call.temperature is None else call.temperature,
        seed=call.seed,
        logprobs=bool(call.logprobs),
        tenant=key.tenant,
        caller=key.name,
        deadline=deadline,
    )


def completion(records: Sequence[Record], call: ChatCall, task: Task | None, created: int) -> JsonObject:
    """The chat.completion that answers `call`, a record a choice; `created` is in seconds since 1970."""
    record = records[0]
    return {
        "id": f"chatcmpl-{record.id}",
        "object": "chat.completion",
        "created": created,
        "model": record.release or call.model,
        "choices": [_choice(one, call, task, index) for index, one in enumerate(records)],
        "usage": usage_of(records),
        "insource": facts(record),
    }


def _choice(record: Record, call: ChatCall, task: Task | None, index: int) -> JsonObject:
    said = record.answer
    words = said.text if task is None and said else content_of(record, task)
    message: JsonObject = {"role": "assistant", "content": words, "refusal": None}
    if record.withheld:
        message |= {"content": None, "refusal": OUT_OF_SCOPE}
    if said and said.tool_calls:
        message |= {"tool_calls": list(said.tool_calls), "content": said.text or None}
    ended = {"logprobs": _logprobs(record, task, call), "finish_reason": finish_of(said, call)}
    return {"index": index, "message": message, **ended}


def chunk(
    id: str, call: ChatCall, model: str, created: int, delta: JsonObject | None = None, index: int = 0
) -> JsonObject:
    """A chat.completion.chunk with `delta` of a choice, or with no choice at all."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]
    made: JsonObject = {
        "id": f"chatcmpl-{id}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": choices,
    }
    return made | {"usage": None} if call.usage_chunk else made


def call_delta(piece: CallPiece) -> JsonObject:
    """OpenAI's delta of a piece of a call."""
    function = {"name": piece.name, "arguments": piece.arguments} if piece.name else {"arguments": piece.arguments}
    begins: JsonObject = ({"id": piece.id} if piece.id else {}) | ({"type": "function"} if piece.name else {})
    return {"tool_calls": [{"index": piece.index, **begins, "function": function}]}


def last_chunk(
    record: Record, call: ChatCall, task: Task | None, model: str, created: int, index: int = 0
) -> JsonObject:
    """What ends a choice: why it ended, with the facts of the record."""
    said = record.answer
    delta = {"refusal": OUT_OF_SCOPE} if record.withheld else _tool_delta(said)
    end = chunk(record.id, call, model, created, delta, index)
    logprobs = _logprobs(record, task, call)
    end["choices"][0] |= {"finish_reason": finish_of(said, call), "logprobs": logprobs}
    end["insource"] = facts(record)
    return end


def usage_chunk(records: Sequence[Record], call: ChatCall, model: str, created: int) -> JsonObject:
    """What ends a stream that was asked for it: the usage of all choices."""
    return chunk(records[0].id, call, model, created) | {"usage": usage_of(records)}


def content_of(record: Record, task: Task | None) -> str:
    """The words of the answer: the bare label or text, else compact JSON; an engine's own words without a task.

    None of what is out of scope: a label that is read without its decision would be taken for an answer.
    """
    said = record.answer
    if said is None or record.withheld:
        return ""
    return render(task, said.value) if task is not None and said.value is not None else said.text


def finish_of(said: Prediction | None, call: ChatCall) -> str:
    """OpenAI's finish_reason: "tool_calls" only where the model chose to call, not where it was told which to call."""
    if said is None:
        return "stop"
    named = isinstance(call.tool_choice, dict) and call.tool_choice.get("type") == "function"
    return "tool_calls" if said.tool_calls and said.finish == "stop" and not named else FINISH[said.finish]


def usage_of(records: Sequence[Record]) -> JsonObject:
    """OpenAI's usage object, of all that was asked: the choices of a task are one answer, told several times."""
    tokens_in = tokens_out = 0
    for record in records if len(records) == 1 else {record.id: record for record in records}.values():
        said = record.answer
        if said is not None:
            tokens_in += said.usage.input_tokens
            tokens_out += said.usage.output_tokens
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


def facts(record: Record) -> JsonObject:
    """What the headers say too: record, release (or engine), tier, confidence, decision.

    For an extraction also the confidence of each field and where its value stands in the input; `short` names the
    fields that fell short of a limit of their own.
    """
    said, tier = record.answer, record.tier
    engine = record.attempts[tier - 1].decision.engine if record.attempts else ""
    found: JsonObject = {}
    if said and said.places and not record.withheld:
        found = {"fields": said.fields, "places": said.places}
    if record.attempts and not isinstance(short := record.attempts[-1].decision.short, msgspec.UnsetType):
        found["short"] = list(short)
    if record.cached:
        found["cache"] = "hit"
    return {
        "record": record.id,
        "release": record.release or engine,
        "tier": tier,
        "confidence": said.confidence if said else None,
        "decision": record.outcome,
        **found,
    }


def _message(message: WireMessage) -> Message:
    role: Any = "tool" if message.role == "function" else message.role
    return Message(
        role=role,
        content=message.content,
        name=message.name,
        tool_calls=message.tool_calls,
        tool_call_id=message.tool_call_id,
    )


def _check_count(call: ChatCall) -> None:
    """While parts are looked at, nobody else is answered."""
    lists = [each for one in call.messages for each in (one.content, one.tool_calls) if isinstance(each, list)]
    if sum(map(len, lists)) > MOST_PARTS:
        raise Invalid(f"the messages hold more than {MOST_PARTS:,} parts", at="messages")


def _check_text(call: ChatCall) -> None:
    try:
        msgspec.json.encode(call)
    except UnicodeEncodeError as error:
        raise Invalid("the text holds half a surrogate pair, which is no character", at="messages") from error


def _check_task_call(call: ChatCall, task: Task) -> None:
    users = [message for message in call.messages if message.role == "user" and message.content is not None]
    if not users:
        raise Invalid("no message has the role user: the last one is the task's input", at="messages")
    last = users[-1].content
    if isinstance(last, list) and any(part.get("type") != "text" for part in last):
        raise Invalid(f"{task.name} reads text only; the last user message has other parts", at="messages")
    if call.tools:
        raise Invalid(f"{task.name} calls no tools", hint="leave tools out, or name an engine as model", at="tools")
    if call.response_format is not None and not _agrees(call.response_format, task):
        form = "a bare label or text" if _bare(task) else "JSON of the task's own schema"
        raise Invalid(
            f"{task.name} answers with {form}; the response_format asks for something else",
            hint="leave response_format out: the task fixes it",
            at="response_format",
        )


def _agrees(form: JsonObject, task: Task) -> bool:
    """Whether the task's own form of answer satisfies the `response_format`."""
    kind = form.get("type")
    if kind == "text" or _bare(task):
        return kind == "text"
    if kind == "json_schema" and isinstance(form.get("json_schema"), dict):
        return canonical(form["json_schema"].get("schema")) == canonical(schema_of(task))
    return kind == "json_object"


def _bare(task: Task) -> bool:
    return task.kind == "generate" or (task.kind == "classify" and len(task.outputs) == 1)


def _tool_delta(said: Prediction | None) -> JsonObject:
    if said is None or not said.tool_calls:
        return {}
    return {"tool_calls": [{"index": i, **call} for i, call in enumerate(said.tool_calls)]}


def _logprobs(record: Record, task: Task | None, call: ChatCall) -> JsonObject | None:
    """For a classify task, each output as if it were one token, with its likeliest labels."""
    said = record.answer
    if not call.logprobs or said is None or task is None or task.kind != "classify" or not said.value:
        return None
    if record.withheld:
        return None
    content = []
    for name, label in said.value.items():
        ranked = said.alternatives.get(name, ())
        known = dict(ranked)
        probability = known.get(label, said.fields.get(name, said.confidence or 0.0))
        top = [_token(other, p) for other, p in ranked[: call.top_logprobs or 0]]
        content.append(_token(str(label), probability) | {"top_logprobs": top})
    return {"content": content, "refusal": None}


def _token(label: str, probability: float) -> JsonObject:
    logprob = math.log(probability) if probability > 0 else NEVER
    return {"token": label, "logprob": logprob, "bytes": list(label.encode())}
