"""What kind of work were these answers? A closed set of short words is classify, JSON is extract, the rest generate.

Most of the answers decide, not all of them: a log holds apologies, older forms and answers to something else. Those
are left for the intake to judge one by one.
"""

from collections import Counter
from collections.abc import Sequence

from insource.collect.calls import opened
from insource.collect.columns import FIELD
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, Output, Task, visible

MOSTLY = 0.9
LABEL_CHARS = 80
LABEL_WORDS = 8
REPEATS = 2
RARE = 0.0005
OF_LABELS = 0.25
FEWEST = 20
HALF = 0.5
NEARLY = 0.99
TYPE = 0.02
DEEP = 4
ONLY = "label"
TYPES: dict[str, type | tuple[type, ...]] = {  # in this order: true is an integer to Python
    "null": type(None), "boolean": bool, "integer": int, "number": float, "string": str, "array": list, "object": dict,
}  # fmt: skip


def infer(name: str, answers: Sequence[JsonValue], instruction: str) -> Task:
    """The task that most of the answers are answers to; `instruction` is what the model was told.

    Raises `Invalid` when there are no answers.
    """
    if not answers:
        raise Invalid("none of the calls has a question and an answer", hint="every one is named in the rejects file")
    values = [opened(answer) for answer in answers]
    objects = [value for value in values if isinstance(value, dict)]
    if len(objects) >= MOSTLY * len(values):
        return _of_objects(name, objects, instruction)
    labels = closed([value for value in values if isinstance(value, str)], len(values))
    if labels:
        outputs = (Output(name=ONLY, labels=labels),)
        return Task(name=name, kind="classify", instruction=instruction, outputs=outputs)
    return Task(name=name, kind="generate", instruction=instruction)


def _of_objects(name: str, objects: Sequence[JsonObject], instruction: str) -> Task:
    """Classify where every field is a closed set, extract otherwise."""
    schema = schema_of(objects)
    fields = list(schema["properties"])
    sets = {field: closed([v for o in objects if isinstance(v := o.get(field), str)], len(objects)) for field in fields}
    if sets and all(sets.values()) and all(map(FIELD.fullmatch, sets)):
        outputs = tuple(Output(name=field, labels=labels) for field, labels in sets.items())
        return Task(name=name, kind="classify", instruction=instruction, outputs=outputs)
    return Task(name=name, kind="extract", instruction=instruction, schema=schema)


def closed(texts: Sequence[str], total: int) -> tuple[str, ...]:
    """The labels, sorted, if most of `total` answers are of a closed set of short ones; else nothing.

    A label is given at least twice, and in five of 10,000 answers.
    """
    short = [text.strip() for text in texts if _short(text)]
    counted = Counter(text for text in short if text)
    least = max(REPEATS, RARE * total)
    labels = {label: n for label, n in counted.items() if n >= least}
    covers = sum(labels.values()) >= MOSTLY * total
    few = len(labels) <= OF_LABELS * total or total < FEWEST
    return tuple(sorted(labels)) if covers and few and len(labels) > 1 else ()


def _short(text: str) -> bool:
    level = text.strip()
    words = len(level.split())
    return len(level) <= LABEL_CHARS and words <= LABEL_WORDS and level.isprintable() and visible(level) == level


def schema_of(objects: Sequence[JsonObject], depth: int = 0) -> JsonObject:
    """A JSON Schema that most of the objects fit: what half of them have is a property, what nearly all, required.

    A type counts when at least 2% of a field's values are of it. Objects are followed four levels down; what is deeper
    may be anything.
    """
    counted = Counter(key for one in objects for key in one)
    names = [key for key, n in counted.items() if n >= HALF * len(objects)]
    properties = {key: _values([one[key] for one in objects if key in one], depth) for key in names}
    required = [key for key in names if counted[key] >= NEARLY * len(objects)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _values(values: Sequence[JsonValue], depth: int) -> JsonObject:
    counted = Counter(_type(value) for value in values)
    kinds = [kind for kind, n in counted.items() if n >= TYPE * len(values)]
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    found: JsonObject = {"type": kinds[0] if len(kinds) == 1 else sorted(kinds)}
    objects = [value for value in values if isinstance(value, dict)]
    items = [item for value in values if isinstance(value, list) for item in value]
    if "object" in kinds:
        found = {**schema_of(objects, depth + 1), **found} if depth < DEEP else found
    if "array" in kinds and items and depth < DEEP:
        found["items"] = _values(items, depth + 1)
    return found


def _type(value: JsonValue) -> str:
    return next(name for name, kinds in TYPES.items() if isinstance(value, kinds))
