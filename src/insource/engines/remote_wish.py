"""What a call asks of a server, in the words of its dialect: the forms of each wish and the body they make. Pure.

A form that the server rejects gives way to the next. After the last a wish of ours is left out, a caller's is not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from insource.decode.check import schema_of
from insource.decode.gbnf import gbnf_of_labels, gbnf_of_schema
from insource.decode.grammar import for_form
from insource.engines.dialects import Dialect, Form, Wish, filled, joined, needed
from insource.errors import EngineError, Invalid
from insource.nouns import JsonObject, JsonValue, Request, Task

# which form of each wish the server takes: a wish that is not named is asked for in its first
Levels = Mapping[str, int]
UNNAMED = ("form", "chances", "stream")  # what a server that says nothing more may not know
OURS = ("temperature", "seed")  # asked for with a task, though it can be answered without
WORDS: dict[str, tuple[str, ...]] = {
    "form": ("json_schema", "schema", "structured", "guided", "grammar", "regex", "choice"),
    "chances": ("logprob",),
    "stream": ("include_usage",),
}
UNKNOWN = ("unsupported", "not supported", "unknown", "unrecognized", "unexpected", "not permitted", "extra")
TEXTS = ("choice", "regex")
SPECIAL = re.compile(r"([\\.^$*+?{}\[\]()|])")


@dataclass(frozen=True)
class Asked:
    """One wish: its forms with their values, best first; `ours` may be left out after the last."""

    forms: tuple[Form, ...]
    ours: bool


def wishes(request: Request, dialect: Dialect, *, stream: bool) -> dict[str, Asked]:
    """What `request` wants of a server of this dialect, by name; a wish it has no form for is absent.

    Raises `EngineError` for a `response_format` of the caller's that the server has no form for, `Invalid` for a
    choice or a regex that no grammar could honour.
    """
    task = request.task
    values: dict[str, JsonValue] = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop) or None,
    }
    asked: dict[str, Asked] = {}
    for name in _present(values):
        asked[name] = Asked(_forms(dialect, (name,), values), ours=task is not None and name in OURS)
    asked["form"] = Asked(_task_form(task, dialect) if task else _own_form(request, dialect), task is not None)
    chances: Wish = "likely" if task and task.kind == "classify" else "logprobs"
    asked["chances"] = Asked(_forms(dialect, (chances,), {}), task is not None or not request.logprobs)
    if stream:
        asked["stream"] = Asked(_forms(dialect, ("stream",), {}), ours=False)
    return {name: one for name, one in asked.items() if one.forms}


def body(said: JsonObject, model: str, dialect: Dialect, asked: Mapping[str, Asked], levels: Levels) -> JsonObject:
    """The JSON to post: `said` (the messages in the wire's form) and every wish in the form that the server takes."""
    whole = joined(dialect.always, said)
    if model or "model" not in whole:
        whole["model"] = model
    for name, one in asked.items():
        level = levels.get(name, 0)
        if level < len(one.forms):
            whole = joined(whole, one.forms[level])
    return whole


def fewer(asked: Mapping[str, Asked], levels: Levels, complaint: str) -> Levels:
    """The levels to try after the server rejected the body with `complaint`; the same when nothing can be given up.

    What the complaint names goes on to its next form; when it names nothing, all that a server may not know goes.
    """
    said = complaint.lower()
    present = {name: one for name, one in asked.items() if levels.get(name, 0) < _last(one)}
    named = [name for name, one in present.items() if _is_named(name, one.forms[levels.get(name, 0)], said)]
    if named:
        return dict(levels) | {name: _next(present[name], levels.get(name, 0), said) for name in named}
    return dict(levels) | {name: _last(present[name]) for name in UNNAMED if name in present}


def _last(one: Asked) -> int:
    """The level after which nothing more can be given up."""
    return len(one.forms) - (not one.ours)


def _next(one: Asked, level: int, said: str) -> int:
    """The next form; where the field itself is said to be unknown, the next one that does without it."""
    fields = [key for key in one.forms[level] if key in said] if any(word in said for word in UNKNOWN) else []
    level += 1
    while level < _last(one) and any(key in one.forms[level] for key in fields):
        level += 1
    return level


def _is_named(name: str, form: Form, said: str) -> bool:
    return any(word in said for word in (*form, *WORDS.get(name, ())))


def _present(values: Mapping[str, JsonValue]) -> list[Wish]:
    names: tuple[Wish, ...] = ("temperature", "max_tokens", "seed", "stop")
    return [name for name in names if values[name] is not None]


def _forms(dialect: Dialect, names: Sequence[Wish], values: Mapping[str, JsonValue]) -> tuple[Form, ...]:
    """The forms of these wishes with their values; one of which a value is missing is none, and none stands twice."""
    known = (form for name in names for form in dialect.says.get(name, ()) if needed(form) <= values.keys())
    forms: list[Form] = []
    for form in (filled(form, values) for form in known):
        forms += [form] if form not in forms else []
    return tuple(forms)


def _task_form(task: Task, dialect: Dialect) -> tuple[Form, ...]:
    """The task's output: a choice of its labels where that is possible and known, else a JSON Schema."""
    if task.kind == "generate":
        return ()
    values: dict[str, JsonValue] = {"name": task.name, "schema": schema_of(task)}
    labels = task.outputs[0].labels if len(task.outputs) == 1 else ()
    if not labels or not _apart(labels):
        return _forms(dialect, ("schema",), values | _own_grammar(schema_of(task), dialect))
    return _forms(dialect, ("choice", "schema"), values | _choice(labels))


def _own_grammar(schema: JsonObject, dialect: Dialect) -> dict[str, JsonValue]:
    """Our grammar, for a server that takes one, where it says all that the schema says."""
    wanted = any("gbnf" in needed(form) for form in dialect.says.get("schema", ()))
    grammar = gbnf_of_schema(schema) if wanted else None
    return {} if grammar is None else {"gbnf": grammar}


def _own_form(request: Request, dialect: Dialect) -> tuple[Form, ...]:
    """The caller's `response_format`: as it is where the server takes OpenAI's, else translated."""
    given = request.response_format
    if given is None or (given.get("type") == "text" and "format" not in dialect.says):
        return ()
    kind, wanted = given.get("type"), given.get("json_schema")
    if not isinstance(kind, str):
        raise Invalid("the type of response_format is no text", at="response_format.type")
    if kind in TEXTS and kind in given:
        return _text_form(given, dialect)
    if kind == "json_schema" and (not isinstance(wanted, dict) or not isinstance(wanted.get("schema") or {}, dict)):
        raise Invalid("json_schema is an object with a schema, itself an object", at="response_format.json_schema")
    values: dict[str, JsonValue] = {"format": given, "name": "answer"}
    if isinstance(wanted, dict):
        values |= {"name": wanted.get("name") or "answer", "schema": wanted.get("schema") or {"type": "object"}}
    names: tuple[Wish, ...] = ("format",) if "format" in dialect.says else ("schema",) if wanted else ("json",)
    # a form that is itself a tool call would take the place of the caller's tools
    forms = tuple(form for form in _forms(dialect, names, values) if not (request.tools and "tools" in form))
    return forms or _unknown(given)


def _text_form(given: JsonObject, dialect: Dialect) -> tuple[Form, ...]:
    """A choice or a regex of the caller's, which `decode.grammar` would take: OpenAI's own API has neither."""
    for_form(given)
    kind: Wish = "choice" if given["type"] == "choice" else "regex"
    values = _choice(given["choice"]) if kind == "choice" else {"regex": given["regex"]}
    return _forms(dialect, (kind,), values) or _unknown(given)


def _unknown(given: JsonObject) -> NoReturn:
    raise EngineError(f"this kind of server cannot be held to response_format {given.get('type')!r}")


def _choice(labels: Sequence[str]) -> dict[str, JsonValue]:
    """Exactly these texts, in every way a server may take them."""
    return {
        "labels": list(labels),
        "regex": "(" + "|".join(SPECIAL.sub(r"\\\1", label) for label in labels) + ")",
        "gbnf": gbnf_of_labels(labels),
    }


def _apart(labels: Sequence[str]) -> bool:
    """Whether no label begins another one: only then is it plain where a bare label ends."""
    order = sorted(labels)
    return not any(other.startswith(one) for one, other in pairwise(order))
