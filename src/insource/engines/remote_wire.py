"""The OpenAI chat wire, from our side: a Request as a body, an answer or a stream of pieces as a Prediction. Pure.

Only fields we know are ever sent. What came back is held to the task by `decode`; a cut, refused or broken answer
never carries a value. Source: OpenAI API reference, chat completions; WHATWG HTML section 9.2 for event streams.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from insource.decode.check import parse, render, schema_of
from insource.decode.prompt import messages
from insource.errors import EngineDown, OutputInvalid
from insource.nouns import Finish, JsonObject, Message, Prediction, Request, Task, Usage

FINISHES: dict[str, Finish] = {"length": "length", "content_filter": "refusal"}
OURS = ("logprobs", "stream_options")
OF_A_TASK = ("response_format", *OURS, "temperature", "seed")
WORDS = {
    "response_format": ("response_format", "json_schema", "schema", "structured", "guided", "grammar"),
    "logprobs": ("logprob",),
    "stream_options": ("stream_options", "include_usage"),
    "temperature": ("temperature",),
    "seed": ("seed",),
}
LARGEST_EVENT, LARGEST_STREAM = 4_000_000, 64_000_000


def body(request: Request, model: str, without: frozenset[str] = frozenset(), *, stream: bool = False) -> JsonObject:
    """The JSON to post for `request`, less the fields `without`, which the server is known to reject.

    With a task: its prompt, and its output as a JSON Schema. Without: the caller's own messages and parameters.
    """
    task = request.task
    said = messages(task, request.input) if task else request.messages
    whole: JsonObject = {
        "model": model or request.model,
        "messages": [_turn(message) for message in said],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "logprobs": True,
        "response_format": _format(task) if task else request.response_format,
        "tools": None if task else request.tools,
        "tool_choice": None if task else request.tool_choice,
        "stream": stream or None,
        "stream_options": {"include_usage": True} if stream else None,
    }
    return {key: value for key, value in whole.items() if value is not None and key not in without}


def droppable(request: Request, sent: JsonObject, complaint: str) -> frozenset[str]:
    """Which fields to leave out after the server rejected `sent` with `complaint`; none when that cannot help.

    Those that the complaint names, else all that a server may not know. A caller's own wishes are not dropped.
    """
    allowed = OF_A_TASK if request.task else tuple(key for key in OURS if key != "logprobs" or not request.logprobs)
    present = [key for key in allowed if key in sent]
    said = complaint.lower()
    named = frozenset(key for key in present if any(word in said for word in WORDS[key]))
    return named or frozenset(key for key in present if key not in ("temperature", "seed"))


def _format(task: Task) -> JsonObject | None:
    if task.kind == "generate":
        return None
    return {"type": "json_schema", "json_schema": {"name": task.name, "strict": True, "schema": schema_of(task)}}


def _turn(message: Message) -> JsonObject:
    turn: JsonObject = {"role": message.role, "content": message.content}
    more = {"name": message.name, "tool_calls": message.tool_calls, "tool_call_id": message.tool_call_id}
    return turn | {key: value for key, value in more.items() if value is not None}


@dataclass
class Heard:
    """What a server has said so far: filled from one answer or from the pieces of a stream."""

    text: str = ""
    refusal: str = ""
    reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    logprob: float = 0.0
    tokens: int = 0
    calls: dict[int, JsonObject] = field(default_factory=dict)

    def take(self, data: JsonObject, part: str) -> str:
        """Adds an answer (`part` "message") or a chunk ("delta"); returns the text it brought.

        Raises `EngineDown` when it does not have the wire's form.
        """
        try:
            return self._take(data, part)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineDown(f"the answer does not have the OpenAI form ({type(error).__name__}: {error})") from error

    def _take(self, data: JsonObject, part: str) -> str:
        used = data.get("usage")
        if used:
            tokens = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
            self.usage = Usage(input_tokens=tokens[0], output_tokens=tokens[1])
        choices = [choice for choice in data["choices"] if choice.get("index", 0) == 0]
        if not choices:
            if part == "message":
                raise KeyError("choices")
            return ""
        said = choices[0].get(part) or {}
        content = said.get("content") or ""
        if not isinstance(content, str):
            raise TypeError("content is no text")
        self.text += content
        self.refusal += said.get("refusal") or ""
        self.reason = choices[0].get("finish_reason") or self.reason
        for position, call in enumerate(said.get("tool_calls") or []):
            self._call(call, position)
        for token in (choices[0].get("logprobs") or {}).get("content") or []:
            self.logprob += float(token["logprob"])
            self.tokens += 1
        return content

    def _call(self, call: JsonObject, position: int) -> None:
        known = self.calls.setdefault(
            int(call.get("index", position)), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        known["id"] = call.get("id") or known["id"]
        function = call.get("function") or {}
        known["function"]["name"] += function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""

    def prediction(self, request: Request, engine: str, latency_ms: float) -> Prediction:
        """The whole answer, held to the task.

        `confidence` is the probability the server gave to these very tokens, exp of their summed log probabilities;
        None when it gave none.
        """
        finish: Finish = "refusal" if self.refusal else FINISHES.get(self.reason or "", "stop")
        text, value, task = self.text, None, request.task
        if task is not None and finish == "stop":
            try:
                value = parse(task, text)
                text = render(task, value) if task.kind == "classify" else text
            except OutputInvalid:
                finish = "invalid"
        sure = math.exp(min(self.logprob, 0.0)) if self.tokens and finish == "stop" else None
        single = task is not None and len(task.fields) == 1 and sure is not None
        return Prediction(
            text=text or self.refusal,
            value=value,
            tool_calls=tuple(self.calls[index] for index in sorted(self.calls)),
            engine=engine,
            confidence=sure,
            fields={task.fields[0]: sure} if task and single and sure is not None else {},
            usage=self.usage,
            latency_ms=latency_ms,
            finish=finish,
        )


class Events:
    """An event stream taken apart: bytes in, however they were cut, the data of whole events out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._taken = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that `piece` completes. Raises `EngineDown` when event or stream has no bounds."""
        self._rest += piece
        self._taken += len(piece)
        if self._taken > LARGEST_STREAM:
            raise EngineDown(f"the stream has more than {LARGEST_STREAM:,} bytes")
        if len(self._rest) + sum(map(len, self._data)) > LARGEST_EVENT:
            raise EngineDown(f"one event of the stream has more than {LARGEST_EVENT:,} bytes")
        # a lone CR at the end may be half of a CRLF that is still to come
        held = b"\r" if self._rest.endswith(b"\r") else b""
        lines = self._rest.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        done = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                done.append(b"\n".join(self._data))
                self._data = []
        return done


def decoded(data: bytes | str) -> JsonObject:
    """The JSON object in an answer. Raises `EngineDown` when there is none."""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineDown(f"the answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise EngineDown("the answer is JSON, but no object")
    return value
