"""One call of another model as its log tells of it. Of a log nothing else is kept: no header, no key, no parameter."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from insource.nouns import JsonObject, JsonValue, Noun, depth_ok, stamp
from insource.nouns.request import text_of

Word = Literal["", "right", "wrong"]
PICTURES = ("image", "image_url", "input_image", "audio", "input_audio", "file", "input_file", "blob", "uri", "video")
SAID_RIGHT = {"right", "correct", "good", "true", "yes", "up", "thumbs_up", "pass", "1", "1.0", "positive"}
SAID_WRONG = {"wrong", "incorrect", "bad", "false", "no", "down", "thumbs_down", "fail", "0", "0.0", "-1", "negative"}
NEWEST = 4102444800.0  # the year 2100, in seconds since 1970: what is larger is in a smaller unit


class Call(Noun, frozen=True, kw_only=True):
    """What a log says of one call; what it does not say is empty or None.

    `key` is what the log calls it. `system` is what the model was told, `input` the last thing the user said before the
    `answer`. `word` is what somebody said of the answer, `person` tells that it was a person, `corrected` what is right
    instead. `fault` says why the call cannot be a row.
    """

    key: str = ""
    file: str = ""
    line: int = 0
    system: str = ""
    input: str = ""
    answer: JsonValue = None
    model: str = ""
    created: str = ""
    latency_ms: float | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    word: Word = ""
    person: bool = False
    corrected: JsonValue = None
    fault: str = ""


EMPTY = Call()


def joined(pieces: Iterable[Call]) -> list[Call]:
    """Calls whose parts stand in several lines or files, each put together by its key; others as they are.

    A part that comes later fills in what is missing; a person's word goes before a machine's.
    """
    found: dict[str, Call] = {}
    for number, piece in enumerate(pieces):
        key = piece.key or f"\0{number}"
        found[key] = piece if key not in found else _both(found[key], piece)
    return list(found.values())


def _both(first: Call, second: Call) -> Call:
    new = {
        name: value
        for name in Call.__struct_fields__
        if getattr(first, name) == getattr(EMPTY, name) != (value := getattr(second, name))
    }
    if second.person and second.word and not first.person:
        new |= {"word": second.word, "person": True, "corrected": second.corrected}
    return msgspec.structs.replace(first, **new)


def flat(document: JsonObject) -> JsonObject:
    """The document with its names levelled: "traceId", "trace_id" and "Trace ID" are "traceid"."""
    return {re.sub(r"[^a-z0-9]", "", str(name)[:200].lower()): value for name, value in document.items()}


def first(document: Mapping[str, JsonValue], *names: str) -> JsonValue:
    """The value of the first name that has one."""
    return next((document[name] for name in names if document.get(name) not in (None, "")), None)


def text(value: JsonValue, most: int = 200) -> str:
    """A short text of a log, such as a model's name: its printable characters, cut; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return "".join(filter(str.isprintable, str(value)[:most]))


def number(value: JsonValue, most: float = 1e15) -> float | None:
    """A number from 0 to below `most`, also where a log wrote it as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < most else None


def whole(value: JsonValue) -> int | None:
    """The same, as a whole number."""
    found = number(value)
    return None if found is None else int(found)


def seconds(value: JsonValue) -> float | None:
    """A time since 1970: of a number in seconds or smaller units, of ISO 8601; a time without a zone is UTC."""
    found = number(value, 1e22)
    if found is not None:
        while found > NEWEST:
            found /= 1000
        return found or None
    if not isinstance(value, str):
        return None
    try:
        said = datetime.fromisoformat(value.strip()[:40])
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def times(begun: JsonValue, ended: JsonValue = None) -> JsonObject:
    """`created` and `latency_ms` as fields of a call, as far as they are known."""
    start, stop = seconds(begun), seconds(ended)
    known: JsonObject = {"created": stamp(start)} if start is not None and start < NEWEST else {}
    if start is not None and stop is not None and stop >= start:
        known["latency_ms"] = round((stop - start) * 1000, 3)
    return known


def usage(value: JsonValue) -> JsonObject:
    """Tokens as fields of a call, from any of the ways in which logs name them."""
    if not isinstance(value, dict):
        return {}
    said = flat(value)
    details = first(said, "prompttokensdetails", "inputtokensdetails")
    cached = first(said, "inputcachedtokens", "cachereadinputtokens", "inputcacheread", "cachedtokens")
    if isinstance(details, dict):
        cached = details.get("cached_tokens")
    return {
        "input_tokens": whole(first(said, "prompttokens", "inputtokens", "input")),
        "cached_tokens": whole(cached),
        "output_tokens": whole(first(said, "completiontokens", "outputtokens", "output")),
    }


def word(value: JsonValue) -> Word:
    """What a score says: "right", "wrong", or "" where it is a degree or something else."""
    if isinstance(value, bool):
        return "right" if value else "wrong"
    said = str(value).strip().lower().replace(" ", "_")[:20] if isinstance(value, str | int | float) else ""
    return "right" if said in SAID_RIGHT else "wrong" if said in SAID_WRONG else ""


def asked(turns: JsonValue) -> JsonObject:
    """`system`, `input` and `fault` of a list of messages: what was said last before the answer is the input."""
    said = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    system = "\n\n".join(content(turn) for turn in said if turn.get("role") in ("system", "developer"))
    users = [turn for turn in said if turn.get("role") in ("user", "human")]
    found: JsonObject = {"system": system.strip()}
    if users:
        found["input"] = content(users[-1])
        found |= {"fault": "a picture or sound"} if _shows(users[-1]) else {}
    return found


def content(turn: JsonObject) -> str:
    """The plain text of a message, whichever way its parts are written."""
    parts = first(turn, "content", "parts")
    if isinstance(parts, list):
        return "".join(_part(part) for part in parts)
    return text_of(parts)


def _part(part: JsonValue) -> str:
    if isinstance(part, str):
        return part
    said = first(part, "text", "content") if isinstance(part, dict) else ""
    return said if isinstance(said, str) else ""


def _shows(turn: JsonObject) -> bool:
    parts = first(turn, "content", "parts")
    return isinstance(parts, list) and any(isinstance(part, dict) and part.get("type") in PICTURES for part in parts)


def opened(value: JsonValue) -> JsonValue:
    """What a text of JSON says, where it is one of an object or a list; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        found = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value
    return found if depth_ok(found) else value


def each(value: JsonValue) -> Iterator[JsonObject]:
    """The objects of a list."""
    yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
