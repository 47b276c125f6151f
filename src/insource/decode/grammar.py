"""A task or a JSON Schema → the grammar its output must follow (llguidance), or a refusal that names the fault.

Output is compact JSON with properties in the schema's order. So that every answer ends, the grammar is narrower than
the schema where that sets no bound (`decode.bounds`). Whatever the grammar lets through is valid for the schema as
written.
"""

import json
import re
from functools import lru_cache
from typing import Any, NoReturn

from insource.decode.bounds import TEXT, bounded
from insource.decode.check import check_form, check_schema, schema_of
from insource.decode.dialect import LEAST
from insource.decode.keywords import DIALECTS, PATTERN, check_size, draft, refuse, subschemas
from insource.decode.mask import limits
from insource.decode.normal import Normal
from insource.decode.patterns import any_of, delimited, spoken
from insource.decode.references import Gathered
from insource.decode.stack import on_a_deep_stack
from insource.errors import Invalid
from insource.nouns import JsonObject, Task, to_json

BLAMED = {
    "oneOf": "make the cases exclude each other, or use anyOf",
    "patternProperties": "the patterns must not overlap",
    "minProperties": "only where every named property is required",
    "maxProperties": "only where every named property is required",
    "pattern": "look-around and back-references are not supported",
    "$ref": "it must point inside the schema",
    "format": "leave it out",
    "multipleOf": "the number is too fine to count by",
}


def for_task(task: Task) -> str | None:
    """The grammar of the task's text form (`decode.check.render`); None for `generate`, which may say anything."""
    if task.kind == "generate":
        return None
    if task.kind == "classify" and len(task.outputs) == 1:
        return for_labels(task.outputs[0].labels)
    return for_schema(schema_of(task), closed=True)


@lru_cache(maxsize=64)
def for_labels(labels: tuple[str, ...]) -> str:
    """The grammar that says exactly one of `labels`, bare. Tens of thousands of them, as paths of a tree, are one trie.

    Raises `Invalid` when there is none, or an empty one.
    """
    from llguidance import LLMatcher

    if not labels or not all(labels):
        raise Invalid("a choice needs at least one label, and no empty one")
    return str(LLMatcher.grammar_from_regex(any_of(sorted(set(labels)))))


@lru_cache(maxsize=64)
def for_regex(pattern: str) -> str:
    """The grammar of texts that `pattern` matches whole, 1,000 characters at most.

    Raises `Invalid` for more than 2,000 characters, for what a validator would call costly, and for look-around,
    back-references and borders, which a grammar cannot honour.
    """
    from llguidance import LLMatcher

    if len(pattern) > PATTERN:
        raise Invalid(f"the regex has more than {PATTERN:,} characters", hint="write a schema, or a choice", at="regex")
    try:
        check_schema({"type": "string", "pattern": f"^(?:{pattern})$"})
    except Invalid as error:
        words = f"the regex {pattern[:80]!r} is none, or one too costly to check"
        raise Invalid(words, hint=BLAMED["pattern"], at="regex") from error
    said = spoken(pattern.removeprefix("^").removesuffix("$") if pattern[-2:] != r"\$" else pattern.removeprefix("^"))
    lark = f"start: TEXT\nTEXT: /{delimited(said)}/ & /(?s:.{{0,{TEXT}}})/"
    grammar = str(LLMatcher.grammar_from_lark(lark))
    _, faults = on_a_deep_stack(lambda: LLMatcher.validate_grammar_with_warnings(grammar, limits=limits()))
    if faults:
        line = str(faults[0]).strip().split("\n")[0][:200]
        raise Invalid(f"the regex cannot be honoured by a grammar: {line}", hint=BLAMED["pattern"], at="regex")
    if _says_nothing(grammar):
        raise Invalid(f"the regex matches no text of at most {TEXT:,} characters", hint="shorten it", at="regex")
    return grammar


def _says_nothing(grammar: str) -> bool:
    """Whether there is no text at all under the grammar; the engine finds out when it first looks for a token."""
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), grammar, limits=limits())
    matcher.compute_bitmask()
    return bool(matcher.is_error())


def for_form(form: JsonObject) -> str | None:
    """The grammar of a call's `response_format`; None for free text.

    Its `type` is text, json_object, json_schema, choice (with a list of texts) or regex. Raises `Invalid` for another,
    and for one that is larger than we compile.
    """
    kind, given = form.get("type"), form.get(str(form.get("type")))
    if kind == "text":
        return None
    if kind == "json_object":
        return for_schema({"type": "object"})
    if kind == "regex" and isinstance(given, str):
        return for_regex(given)
    if kind == "choice" and isinstance(given, list) and all(isinstance(each, str) for each in given):
        check_size(given)
        return for_labels(tuple(given))
    if kind == "json_schema" and isinstance(given, dict) and isinstance(given.get("schema"), dict):
        return for_schema(given["schema"])
    raise Invalid(
        "response_format is text, json_object, json_schema with a schema, choice with texts, or a regex",
        hint='{"type": "json_schema", "json_schema": {"name": "…", "schema": {…}}}',
        at="response_format",
    )


def for_schema(schema: JsonObject, *, closed: bool = False) -> str:
    """The grammar of `schema`. Raises `Invalid` naming keyword and path when it cannot be honoured whole.

    With `closed`, objects that name properties have no others where the schema leaves that open.
    """
    check_size(schema)
    try:
        said = to_json(schema)
    except (UnicodeEncodeError, OverflowError, ValueError) as error:
        raise Invalid(f"the schema cannot be written as JSON: {error}", hint="docs/reference/schemas.md") from error
    return _compiled(said, closed)


def narrowed(schema: JsonObject) -> JsonObject:
    """What `for_schema(schema, closed=True)` is the grammar of: a plain schema with our bounds. Raises `Invalid`."""
    check_size(schema)
    return on_a_deep_stack(lambda: _bounded(json.loads(to_json(schema)), closed=True))


def unbounded(schema: JsonObject) -> str:
    """The grammar of `schema` without our own bounds: its answers may never end. For measuring what the bounds cost."""
    return _grammar(Normal(Gathered(schema)).schema())


@lru_cache(maxsize=256)
def _compiled(schema: bytes, closed: bool) -> str:
    try:
        return on_a_deep_stack(lambda: _grammar(_bounded(json.loads(schema), closed=closed)))
    except RecursionError as error:
        raise Invalid("the schema is nested too deeply to decode by", hint="split the task") from error


def _bounded(schema: JsonObject, *, closed: bool) -> JsonObject:
    """`schema` made plain, with our bounds: the most of them that llguidance can combine."""
    check_form(schema, DIALECTS[draft(schema)])
    gathered = Gathered(schema)
    check_schema(schema)
    normal = Normal(gathered)
    plain = normal.schema()
    for place, part in subschemas(plain):
        for key in LEAST.keys() & part.keys():
            if part[key] > LEAST[key]:
                refuse(key, place, f"at most {LEAST[key]:,}: no answer is that long")
    said = ""
    for keys, lengths in ((True, True), (False, True), (False, False)):
        if "too big" in said and lengths:
            continue  # it would only be found out once more
        narrow = bounded(plain, closed=closed, keys=keys, lengths=lengths)
        said = _fault(narrow)
        if not said:
            return narrow
    return _blame(plain, normal.places, said)


def _grammar(schema: JsonObject) -> str:
    from llguidance import LLMatcher

    options: Any = {
        "whitespace_flexible": False,
        "item_separator": ",",
        "key_separator": ":",
        "lenient": False,
        "json_allowed_escapes": 'nrbtf\\"',  # one spelling each, or a further property could be a named one in disguise
    }
    return str(LLMatcher.grammar_from_json_schema(to_json(_in_words(schema)).decode(), overrides=options))


def _in_words(value: Any) -> Any:
    """A normal schema with its patterns as the engine reads them."""
    if isinstance(value, list):
        return [_in_words(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: each if key in ("enum", "const") else _in_words(each) for key, each in value.items()}
    if isinstance(value.get("pattern"), str):
        made["pattern"] = spoken(value["pattern"])
    if isinstance(value.get("patternProperties"), dict):
        made["patternProperties"] = {spoken(key): each for key, each in made["patternProperties"].items()}
    return made


def _fault(schema: JsonObject) -> str:
    """What llguidance has against `schema`; empty when it compiles without a warning."""
    from llguidance import LLMatcher

    try:
        _, said = LLMatcher.validate_grammar_with_warnings(_grammar(schema), limits=limits())
    except ValueError as error:
        return str(error)
    return str(said[0]) if said else ""


def _blame(schema: JsonObject, places: dict[str, str], said: str) -> NoReturn:
    """Raises `Invalid` with the keyword that llguidance's words are about, and the deepest place that has the fault."""
    line = said.strip().split("\n")[0][:200]
    keyword = next((key for key, mark in _MARKS if re.search(mark, said)), "")
    holders = [(path, part) for path, part in subschemas(schema) if keyword in part]
    if not holders:
        raise Invalid(f"the schema cannot be honoured by a grammar: {line}", hint="docs/reference/schemas.md")
    guilty = [path for path, part in holders[-32:] if _fault({**part, "$defs": schema.get("$defs", {})})]
    path = guilty[-1] if len(holders) > 1 and guilty else holders[0][0]
    name = path.split("/")[2] if path.startswith("/$defs/") else ""
    refuse(keyword, places[name] + path.removeprefix(f"/$defs/{name}") if name else path, f"{BLAMED[keyword]} ({line})")


_MARKS = (
    ("oneOf", r"oneOf constraints"),
    ("patternProperties", r"patternProperty|patternProperties"),
    ("minProperties", r"min/maxProperties|minProperties"),
    ("maxProperties", r"maxProperties"),
    ("pattern", r"regex|Regex|lexeme"),
    ("format", r"format"),
    ("$ref", r"Resource|Pointer|\$ref|reference"),
)
