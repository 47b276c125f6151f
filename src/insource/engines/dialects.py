"""The dialects of servers: how each takes what we want and how it says what went wrong. Data; no server is named here.

The table is `dialects.toml`. What a call wants is a set of wishes (a schema, a seed, …); a dialect gives for each the
forms in which it can be asked for, best first.
"""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, Noun

Held = Literal["choice", "regex", "schema", "json", "format"]
Wish = Held | Literal["likely", "logprobs", "temperature", "max_tokens", "seed", "stop", "stream"]
Form = JsonObject
Status = Annotated[int, Meta(ge=400, le=599)]


class Dialect(Noun, frozen=True, kw_only=True):
    """One kind of server.

    `wire` is the shape of messages, answers and streams; `path` is added to `base_url`, of which `address` is an
    example. `health` is where the server says whether it is well, added to `base_url` without its /v1. `says` are the
    forms of each wish; one without is not sent. `always` is in every body unless a wish says otherwise. A status in
    `busy`, else in `down` or `denied`, is an engine full, broken or closed to us (the first two are tried again), one
    in `rejects` finds fault with the request, and an error code in `spoiled` means that the model, not the server,
    broke the schema. `broke` and `usage` are where a stream says that it failed and what it cost. `tokens`, `errors`
    and `calls` are the form of log probabilities, of error bodies and of tool calls; `answers` is in every answer
    besides. `about`, `adapters` and `checked` are for the documentation.
    """

    about: str
    wire: Literal["openai", "anthropic", "ollama"] = "openai"
    address: str
    path: str = "/chat/completions"
    health: str = ""
    headers: dict[str, str] = {}
    adapters: str
    checked: str
    says: dict[Wish, tuple[Form, ...]]
    always: JsonObject = {}
    busy: tuple[Status, ...] = (429,)
    down: tuple[Status, ...] = (408, 409, 425, 500, 502, 503, 504, 529)
    denied: tuple[Status, ...] = (401, 403)
    rejects: tuple[Status, ...] = (400, 422, 501)
    spoiled: tuple[str, ...] = ()
    broke: tuple[str, ...] = ("error",)
    usage: tuple[str, ...] = ("usage",)
    tokens: Literal["content", "lists"] = "content"
    errors: Literal["object", "flat", "text"] = "object"
    calls: Literal["list", "numbered", "one"] = "list"
    answers: JsonObject = {}


@lru_cache(maxsize=1)
def dialects() -> Mapping[str, Dialect]:
    """Every dialect by its kind, as `kind` of `[engines.NAME]` names it."""
    text = files("insource.engines").joinpath("dialects.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), type=dict[str, Dialect])


def dialect(kind: str) -> Dialect:
    """The dialect of one kind of server. Raises `Invalid` naming the known ones."""
    known = dialects()
    if kind not in known:
        raise Invalid(f"there is no server of kind {kind!r}", hint=f"kinds: {', '.join(known)}")
    return known[kind]


def filled(form: JsonValue, values: Mapping[str, JsonValue]) -> JsonValue:
    """`form` with every text "$NAME" in it replaced by the value of that name."""
    if isinstance(form, dict):
        return {key: filled(value, values) for key, value in form.items()}
    if isinstance(form, list):
        return [filled(value, values) for value in form]
    return values[form[1:]] if isinstance(form, str) and form.startswith("$") else form


def needed(form: JsonValue) -> set[str]:
    """The names in `form` that `filled` would replace."""
    if isinstance(form, dict | list):
        return {name for each in (form.values() if isinstance(form, dict) else form) for name in needed(each)}
    return {form[1:]} if isinstance(form, str) and form.startswith("$") else set()


def joined(one: JsonObject, other: JsonObject) -> JsonObject:
    """Both objects as one; what both hold is the other's, but for objects, which are joined in turn."""
    both = one | other
    if len(both) == len(one) + len(other):
        return both
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            both[key] = joined(one[key], other[key])
    return both


def found(data: JsonValue, path: str) -> JsonValue:
    """What stands in `data` at a dotted path; None where nothing does."""
    step, _, further = path.partition(".")
    inside = data.get(step) if isinstance(data, dict) else None
    return found(inside, further) if further else inside
