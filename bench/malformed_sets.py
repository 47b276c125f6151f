"""Schemas for bench/malformed.py, made so that an answer fits into few tokens, and which server can be held to which.

Three sources: the parameters of BFCL's functions; forms that tasks have (closed sets, several outputs, optional and
free texts, numbers, lists, nested objects), drawn from a seed; and a seeded sample of JSONSchemaBench. Each gets caps:
texts of 8 characters (16 with a pattern, 40 with a format), lists of 2 items, numbers from 0 to 99 in halves, no
further properties, where it says nothing narrower. Kept are those that our check accepts and whose answers fit even
as the most tokens spell them: every text to its end, every list full, letter by letter. Left out are objects with free
keys and values of any form, which nothing caps, and steps that binary fractions do not hold, as 0.01: validators differ
on which numbers are their multiples.
"""

import gzip
import json
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bfcl
from insource.decode.grammar import for_schema
from insource.decode.keywords import subschemas
from insource.decode.mask import GrammarMask, Vocabulary
from insource.errors import InsourceError
from insource.nouns import JsonObject, canonical

TEXT, SHAPED, FORMED, ITEMS, LOWEST, HIGHEST, STEP = 8, 16, 40, 2, 0, 99, 0.5
LONGEST = 1_500  # characters of a schema; servers read it in the prompt
WALKS, ROOM = 4, 60
NOTES = ("title", "description", "default", "example", "examples", "$comment", "$schema", "$id", "id")
MAPS = ("properties", "patternProperties", "$defs", "definitions")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
# what a server's own grammar says whole, where that is llguidance: in vLLM's guidance backend, in xllamacpp's build
SAID = {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "$ref", "$defs",
        "definitions", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "anyOf", "multipleOf",
        "exclusiveMinimum", "exclusiveMaximum"}  # fmt: skip
SAYS = {"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"}
CLOSERS, CLOSES = set(b'"]}'), 1_000
Named = tuple[str, JsonObject]


def chosen(folder: Path, vocabulary: Vocabulary, wanted: dict[str, int]) -> list[Named]:
    """`wanted` schemas of each source ("bfcl", "tasks", "jsonschemabench"), with names; none twice."""
    sources = {"bfcl": functions(folder), "tasks": forms(), "jsonschemabench": published(folder)}
    found: list[Named] = []
    seen: set[bytes] = set()
    for name, count in wanted.items():
        left = count
        for which, given in sources[name]:
            schema = capped(given)
            if left == 0:
                break
            if canonical(schema) in seen or not fits(schema, vocabulary):
                continue
            seen.add(canonical(schema))
            found.append((f"{name}/{which}", schema))
            left -= 1
    return found


def functions(folder: Path) -> Iterator[Named]:
    """The parameters of BFCL's functions."""
    for part in bfcl.FILES:
        for row in bfcl.questions(folder, part):
            for i, function in enumerate(row["function"]):
                yield f"{row['id']}/{i}", bfcl.json_schema(function["parameters"])


def published(folder: Path) -> Iterator[Named]:
    """JSONSchemaBench in an order drawn from a seed."""
    rows = []
    for path in sorted((folder / "jsonschemabench").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [(row["id"], row["schema"]) for row in map(json.loads, lines) if isinstance(row["schema"], dict)]
    random.Random(0).shuffle(rows)  # noqa: S311 - seeded on purpose
    yield from rows


def forms() -> Iterator[Named]:
    """Forms of tasks without end."""
    dice = random.Random(1)  # noqa: S311 - seeded on purpose
    number = 0
    while True:
        for kind in (closed, several, extraction, nested, lists, cases):
            yield f"{kind.__name__}-{number}", kind(dice)
        number += 1


def closed(dice: random.Random) -> JsonObject:
    """One closed set."""
    return obj({"label": {"type": "string", "enum": labels(dice, dice.randint(2, 60))}})


def several(dice: random.Random) -> JsonObject:
    """Two to four closed sets."""
    return obj({f"output{i}": {"type": "string", "enum": labels(dice, 12)} for i in range(dice.randint(2, 4))})


def extraction(dice: random.Random) -> JsonObject:
    """Fields as a document has them, some optional."""
    fields: dict[str, JsonObject] = {
        "name": {"type": "string"},
        "count": {"type": "integer", "minimum": dice.randint(0, 5), "maximum": dice.randint(6, 10_000)},
        "total": {"type": "number"},
        "urgent": {"type": "boolean"},
        "unit": {"enum": labels(dice, 5)},
        "note": {"type": ["string", "null"]},
    }
    names = dice.sample(sorted(fields), dice.randint(2, 4))
    return obj({name: fields[name] for name in names}, dice.sample(names, dice.randint(0, len(names))))


def nested(dice: random.Random) -> JsonObject:
    """An object inside an object."""
    inner = extraction(dice)
    return obj({"id": {"type": "integer", "minimum": 0, "maximum": 999}, "part": inner})


def lists(dice: random.Random) -> JsonObject:
    """Lists of words, of numbers, of objects."""
    item = dice.choice([{"enum": labels(dice, 6)}, {"type": "integer", "minimum": 0, "maximum": 20}, closed(dice)])
    return obj({"items": {"type": "array", "items": item, "minItems": dice.randint(0, 1), "maxItems": 3}})


def cases(dice: random.Random) -> JsonObject:
    """One of two forms, told apart by a constant."""
    one, other = (
        obj({"kind": {"const": kind}, kind: extraction(dice)["properties"].popitem()[1]}) for kind in ("a", "b")
    )
    return {"anyOf": [one, other]}


def labels(dice: random.Random, count: int) -> list[str]:
    """Different labels of one to three words, some with characters that JSON escapes."""
    words = ("pump", "seal", "oil leak", "Überlauf", 'a "b"', "x\\y", "no. 7", "油", "e-mail", "tab\there")
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(dice.choice(words) for _ in range(dice.randint(1, 3)))] = None
    return list(found)


def obj(properties: JsonObject, required: list[str] | None = None) -> JsonObject:
    """An object of these properties and no others."""
    wanted = list(properties) if required is None else [name for name in properties if name in required]
    return {"type": "object", "properties": properties, "required": wanted, "additionalProperties": False}


def capped(part: Any) -> Any:
    """A narrower schema with our caps, without notes."""
    if not isinstance(part, dict):
        return part
    made = {key: value for key, value in part.items() if key not in NOTES}
    for key, value in made.items():
        if key in MAPS and isinstance(value, dict):
            made[key] = {name: capped(each) for name, each in value.items()}
        elif key in LISTS and isinstance(value, list):
            made[key] = [capped(each) for each in value]
        elif key in ("items", "additionalProperties"):
            made[key] = capped(value)
    if not {"enum", "const", "$ref"} & made.keys():
        _cap(made)
    return made


def _cap(made: JsonObject) -> None:
    types = made.get("type", [])
    types = types if isinstance(types, list) else [types]
    if "string" in types:
        longest = FORMED if "format" in made else SHAPED if "pattern" in made else TEXT
        most = max(longest, made.get("minLength", 0))
        made["maxLength"] = min(made.get("maxLength", most), most)
    if "array" in types:
        most = max(ITEMS, made.get("minItems", 0))
        made["maxItems"] = min(made.get("maxItems", most), most)
    if {"integer", "number"} & set(types):
        if not {"minimum", "exclusiveMinimum"} & made.keys():
            made["minimum"] = min(LOWEST, made.get("maximum", LOWEST), made.get("exclusiveMaximum", 1) - 1)
        if not {"maximum", "exclusiveMaximum"} & made.keys():
            made["maximum"] = max(HIGHEST, made.get("minimum", 0), made.get("exclusiveMinimum", 0) + 1)
        if "integer" not in types:
            made.setdefault("multipleOf", STEP)
    named = made.get("properties", {})
    if named and "patternProperties" not in made and set(made.get("required", [])) <= named.keys():
        made.setdefault("additionalProperties", False)


def fits(schema: JsonObject, vocabulary: Vocabulary) -> bool:
    """Whether our check accepts the schema, and its longest answers have at most `ROOM` tokens each."""
    if len(canonical(schema)) > LONGEST:
        return False
    try:
        if any(_left_out(part) for _, part in subschemas(schema)):
            return False
        mask = GrammarMask(vocabulary, for_schema(schema))
        dice, costs = np.random.default_rng(0), _costs(vocabulary)
        return all(_walk(mask.start(), dice, costs) for _ in range(WALKS))
    except (InsourceError, ValueError, TypeError):  # a schema of theirs may be none at all
        return False


@lru_cache(maxsize=1)
def _costs(vocabulary: Vocabulary) -> NDArray[np.int64]:
    """How soon each token brings an answer to its end: by its length, and at once where it may close something."""
    pieces = vocabulary.pieces(range(vocabulary.size))
    costs = [len(piece) + CLOSES * bool(CLOSERS & set(piece)) for piece in pieces]
    costs[vocabulary.tokens.eos_token] = 2 * CLOSES
    return np.array(costs)


def _left_out(part: JsonObject) -> bool:
    types = part.get("type", [])
    free = "object" in types and part.get("additionalProperties", True) is not False  # "object" is in itself
    anything = not SAYS & part.keys() or ("array" in types and "items" not in part)
    return anything or free or "patternProperties" in part or bool((float(part.get("multipleOf", 1)) * 1024) % 1)


def _walk(mask: GrammarMask, dice: np.random.Generator, costs: NDArray[np.int64]) -> bool:
    """Whether an answer that is spelled out, as slowly as the mask allows, ends in time."""
    taken = len(mask.forced())
    while taken <= ROOM and not mask.done:
        allowed = np.flatnonzero(mask.allowed())
        slowest = allowed[costs[allowed] == costs[allowed].min()]
        token = int(dice.choice(slowest))
        if costs[token] == 2 * CLOSES:
            return True
        mask.advance(token)
        taken += 1 + len(mask.forced())
    return taken <= ROOM


def said_whole(schema: Any) -> bool:
    """Whether a server's own grammar says everything that the schema says."""
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    types = schema.get("type", [])
    plain = {"enum", "const", "$ref", "anyOf"} & schema.keys() or isinstance(types, str)
    if types == "object" and (not schema.get("properties") or schema.get("additionalProperties") is not False):
        return False
    inner = [each for key in MAPS for each in (schema.get(key) or {}).values()]
    inner += [each for key in LISTS for each in schema.get(key) or []]
    inner += [schema[key] for key in ("items",) if key in schema]
    whole = set(schema) <= SAID and bool(plain)
    return whole and (types != "array" or "items" in schema) and all(map(said_whole, inner))
