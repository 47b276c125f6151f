"""What a server says, whatever its wire: pieces heard into a Prediction, event streams taken apart. Pure.

What came back is held to the task by `decode`; a cut, refused or broken answer never carries a value. Source: WHATWG
HTML section 9.2 for event streams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from insource.decode.check import parse, render
from insource.engines.dialects import Dialect, found
from insource.engines.remote_sure import Token, sureness
from insource.errors import EngineDown, OutputInvalid
from insource.nouns import CallPiece, Finish, JsonObject, JsonValue, Message, Prediction, Request, Usage, visible

FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "spoiled": "invalid",
}
SPOILED = "spoiled"  # the server gave no answer: it says that the model broke the schema
BROKEN = ("error", "abort")
LARGEST_EVENT, LARGEST_STREAM = 4_000_000, 64_000_000
TOGETHER = 1000
LONGEST_NAME = 100
MOST_TOKENS = 2**40  # of one answer: sums of a million such still fit every counter
DONE = b"[DONE]"
PLAIN = b"data: "
FIELDS = (b"", b"event", b"id", b"retry")  # beside data; "" is a comment, or the end of an event


class Heard(msgspec.Struct):
    """What a server has said so far: filled from one answer or from the pieces of a stream, by the wire's `take`.

    `bound` is true when a task is answered: a call of the tool that stands for its schema is then the answer.
    """

    dialect: Dialect
    bound: bool = False
    words: list[str] = []
    refusal: str = ""
    reason: str | None = None
    usage: Usage = Usage()
    tokens: list[Token] = []
    calls: dict[int, JsonObject] = {}
    fresh: list[CallPiece] = []  # what came of calls since somebody looked
    ended: bool = False
    served: str = ""

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self.words)

    def say(self, text: str) -> None:
        """Adds to what was said. Pieces are put together in hundreds: to lengthen a text copies all of it each time."""
        self.words.append(text)
        if len(self.words) >= TOGETHER:
            self.words = [self.text]

    def spent(self, read: JsonValue, written: JsonValue) -> None:
        """Takes over the counts of tokens in and out; what is no count is zero, or what is known already."""
        tokens_in, tokens_out, known = counted(read), counted(written), self.usage
        self.usage = Usage(
            input_tokens=known.input_tokens if tokens_in is None else tokens_in,
            output_tokens=known.output_tokens if tokens_out is None else tokens_out,
        )

    def call(self, position: int, *, id: str = "", name: str = "", arguments: str = "") -> None:
        """Adds a piece of the tool call at `position`. Raises TypeError for a piece that is no text."""
        if not all(isinstance(piece, str) for piece in (id, name, arguments)):
            raise TypeError("a piece of a call is no text")
        new: JsonObject = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        known = self.calls.setdefault(position, new)
        index, first = list(self.calls).index(position), "" if known["id"] else id  # some servers repeat it
        self.fresh.append(CallPiece(index=index, id=first, name=name, arguments=arguments))
        known["id"] = id or known["id"]
        known["function"]["name"] += name
        known["function"]["arguments"] += arguments

    def come(self) -> list[CallPiece]:
        """What came of calls since this was asked last; none of a call that is a task's answer."""
        fresh, self.fresh = self.fresh, []
        return [] if self.bound else fresh

    def prediction(self, request: Request, engine: str, latency_ms: float) -> Prediction:
        """The whole answer, held to the task. Raises `EngineDown` when the server says that it broke off."""
        if self.reason in BROKEN:
            raise EngineDown(f"{engine} broke off: it says that it finished with {self.reason!r}")
        finish: Finish = "refusal" if self.refusal else FINISHES.get(self.reason or "", "stop")
        whole = text = self.text
        value, task = None, request.task
        if task is not None and finish == "stop":
            try:
                value = parse(task, text)
                text = render(task, value) if task.kind == "classify" else text
            except OutputInvalid:
                finish = "invalid"
        sure = sureness(task, value, whole, self.tokens) if finish == "stop" else sureness(None, None, "", ())
        return Prediction(
            text=text or self.refusal,
            value=value,
            tool_calls=tuple([self.calls[index] for index in sorted(self.calls)]),
            engine=engine,
            confidence=sure.whole,
            fields=sure.fields,
            alternatives=sure.alternatives,
            usage=self.usage,
            latency_ms=latency_ms,
            finish=finish,
            served=self.served or UNSET,
        )


@dataclass(frozen=True)
class Wire:
    """One family of servers: how it writes a conversation, and what its answers and the pieces of its streams mean.

    `said(messages, request)` is the part of the body that holds the messages and the caller's tools. `take(heard,
    data, part)` adds an answer (`part` "message") or a piece of a stream ("delta") and returns the text it brought;
    it raises KeyError, TypeError and the like on another form. `lines`: a stream is JSON lines, not events. `quick`,
    where there is one, takes the bytes of a piece in its commonest form, and returns None for any other.
    """

    said: Callable[[Sequence[Message], Request], JsonObject]
    take: Callable[[Heard, JsonObject, str], str]
    lines: bool = False
    quick: Callable[[Heard, bytes], str | None] | None = None


def served(data: JsonObject) -> str:
    """What the server says that it is: its model, and its fingerprint where it has one; what is no name is left out."""
    said = [data.get("model"), data.get("system_fingerprint")]
    return " ".join(["_".join(visible(one[:LONGEST_NAME]).split()) for one in said if isinstance(one, str) and one])


def counted(said: JsonValue) -> int | None:
    """A count of tokens as a server gives it, brought into 0 to `MOST_TOKENS`; None for what is no number."""
    if type(said) not in (int, float):  # a bool is a kind of int
        return None
    return int(min(max(said, 0), MOST_TOKENS))


def taken(wire: Wire, heard: Heard, data: JsonObject, part: str) -> str:
    """`wire.take`, where a form that is not the wire's, or one that tells of a failure, is `EngineDown`."""
    for path in heard.dialect.broke:
        if said := found(data, path):
            raise EngineDown(f"the server broke off: {said}")
    try:
        text = wire.take(heard, data, part)
        if not isinstance(heard.reason, str | None):
            raise TypeError("the reason of the end is no text")
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise EngineDown(f"the answer does not have the wire's form ({type(error).__name__}: {error})") from error
    return text


def vectors(data: JsonObject, wanted: int, engine: str) -> tuple[list[JsonObject], Usage]:
    """The vectors of an embeddings answer, in order, and the tokens read. Raises `EngineDown` for another form."""
    found = data.get("data")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    vector = [row.get("embedding") for row in rows]
    places = [row.get("index") for row in rows]
    if places != list(range(wanted)) or not all(isinstance(one, str | list) and one for one in vector):
        raise EngineDown(f"{engine}: the answer has not one vector for each of {wanted:,} texts")
    used = data.get("usage")
    tokens = counted(used.get("prompt_tokens")) if isinstance(used, dict) else None
    plain: list[JsonObject] = [
        {"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vector)
    ]
    return plain, Usage(input_tokens=tokens or 0)


class Events:
    """A stream taken apart: bytes in, however they were cut, the data of whole events (or `lines`) out."""

    def __init__(self, *, lines: bool = False) -> None:
        self._lines = lines
        self._rest = b""
        self._data: list[bytes] = []
        self._taken = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that `piece` completes. Raises `EngineDown` when event or stream has no bounds."""
        self._rest += piece
        self._taken += len(piece)
        if self._taken > LARGEST_STREAM:
            raise EngineDown(f"the stream has more than {LARGEST_STREAM:,} bytes")
        held = sum(map(len, self._data)) if self._data else 0
        if len(self._rest) + held > LARGEST_EVENT:
            raise EngineDown(f"one event of the stream has more than {LARGEST_EVENT:,} bytes")
        if not (self._lines or self._data) and (plain := self._plain()):
            return plain
        # a lone CR at the end may be half of a CRLF that is still to come
        half = b"\r" if self._rest.endswith(b"\r") else b""
        lines = self._rest.removesuffix(half).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + half
        return [line for line in lines if line.strip()] if self._lines else self._events(lines)

    def _plain(self) -> list[bytes]:
        """The whole events at hand where each is one line of data, as nearly all are; or none."""
        if b"\r" in self._rest:
            return []
        whole, end, rest = self._rest.rpartition(b"\n\n")
        if not end:
            return []
        breaks = whole.count(b"\n")
        if not breaks and whole.startswith(PLAIN):
            self._rest = rest
            return [whole[len(PLAIN) :]]
        found = [event[len(PLAIN) :] for event in whole.split(b"\n\n") if event.startswith(PLAIN)]
        # an event of several lines, or one that begins otherwise, is read line by line
        if breaks != 2 * (len(found) - 1):
            return []
        self._rest = rest
        return found

    def _events(self, lines: list[bytes]) -> list[bytes]:
        done = []
        for line in lines:
            name, _, rest = line.partition(b":")
            if name == b"data":
                self._data.append(rest.removeprefix(b" "))
            elif not line and self._data:
                done.append(b"\n".join(self._data))
                self._data = []
            elif name not in FIELDS:  # a browser passes over such a line; here words would be missing, and nobody knew
                raise EngineDown("the stream has a line that belongs to no event")
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
