"""Published schemas with their instances, and the same instance as our grammar would write it.

Two layouts: JSONSchemaBench's (a `.jsonl` or `.jsonl.gz` a split, rows {id, schema, tests: [{valid, data}]}), and that
of the official test suite (a folder a draft, files of groups {schema, tests}).
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from insource.decode.check import faults
from insource.decode.keywords import LISTS, ONE, draft
from insource.errors import Invalid

URIS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}


NAMING = ("properties", "required", "dependentRequired", "dependencies", "const", "enum")


class Case(NamedTuple):
    """A schema and its instances: (whether it is valid, the instance)."""

    id: str
    schema: dict[str, Any]
    tests: list[tuple[bool, Any]]


def splits(folder: Path) -> dict[str, list[Case]]:
    """The cases of every split under `folder`. Raises `Invalid` when there is none."""
    found = {path.name.split(".jsonl")[0]: list(_rows(path)) for path in sorted(folder.glob("*.jsonl*"))}
    for inner in [folder, *sorted(folder.iterdir())]:
        groups = sorted(inner.glob("*.json")) if inner.is_dir() else []
        if groups:
            found[inner.name] = [case for path in groups for case in _groups(path, URIS.get(inner.name))]
    if not found:
        raise Invalid(f"{folder} holds neither .jsonl splits nor drafts of .json groups")
    return found


def _rows(path: Path) -> Iterator[Case]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield Case(row["id"], row["schema"], [(test["valid"], test["data"]) for test in row.get("tests", [])])


def _groups(path: Path, uri: str | None) -> Iterator[Case]:
    for i, group in enumerate(json.loads(path.read_text("utf-8"))):
        schema = group["schema"]
        if isinstance(schema, bool):
            schema = {} if schema else {"not": {}}
        if uri:
            schema = {"$schema": uri, **schema}
        yield Case(f"{path.stem}/{i}", schema, [(test["valid"], test["data"]) for test in group["tests"]])


def written(value: Any) -> str:
    """Compact JSON, as our grammars write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def rearranged(schema: dict[str, Any], value: Any) -> Any:
    """The same value with properties in the schema's order and whole numbers without a point."""
    return _Order(schema).arrange([schema], value)


class _Order:
    """Walks a value beside the schemas that speak of it: of cases, those it is valid for."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema
        self.keys = ("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "dependencies")
        if draft(schema) in ("draft-04", "draft-06", "draft-07"):
            self.keys = self.keys[1:]

    def arrange(self, schemas: list[Any], value: Any) -> Any:
        """`value` in order, by the schemas it stands under."""
        here = list(self._in_place(schemas, value, set()))
        if isinstance(value, dict):
            names = list(dict.fromkeys(name for part in here for key in NAMING for name in _names(part.get(key))))
            order = sorted(value, key=lambda name: names.index(name) if name in names else len(names))
            return {name: self.arrange(list(_of(here, name)), value[name]) for name in order}
        if isinstance(value, list):
            return [self.arrange(list(_at(here, i)), each) for i, each in enumerate(value)]
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value

    def _in_place(self, schemas: list[Any], value: Any, seen: set[int]) -> Iterator[dict[str, Any]]:
        for part in schemas:
            if not isinstance(part, dict) or id(part) in seen:
                continue
            seen.add(id(part))
            if "$ref" in part and "$ref" not in self.keys:
                yield from self._in_place([self._target(part["$ref"])], value, seen)
                continue
            keys = [key for key in part if key in self.keys or key == "properties"]
            for key in keys if "properties" in keys else [*keys, "properties"]:
                if key == "properties":
                    yield part
                else:
                    yield from self._in_place(self._cases(key, part[key], value), value, seen)

    def _cases(self, key: str, inner: Any, value: Any) -> list[Any]:
        """What stands in place under a keyword: of anyOf and oneOf the cases that hold."""
        if key == "$ref":
            return [self._target(inner)]
        cases = list(inner) if key in LISTS else [inner] if key in ONE else list(inner.values())
        return [each for each in cases if key not in ("anyOf", "oneOf") or self._holds(each, value)] or cases

    def _holds(self, case: Any, value: Any) -> bool:
        around = {key: self.root[key] for key in ("$schema", "definitions", "$defs") if key in self.root}
        try:
            return not faults({**around, "allOf": [case]}, value)
        except Invalid:
            return True

    def _target(self, reference: Any) -> Any:
        found: Any = self.root
        for step in str(reference).partition("#")[2].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%22", '"')
            found = (
                found[int(step)] if isinstance(found, list) else found.get(step) if isinstance(found, dict) else None
            )
        return found


def _names(said: Any) -> Iterator[str]:
    """Property names in the order in which a keyword's value speaks of them."""
    for each in said if isinstance(said, list) else [said]:
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            yield from each
            yield from (name for inner in each.values() if isinstance(inner, list) for name in _names(inner))


def _of(schemas: list[dict[str, Any]], name: str) -> Iterator[Any]:
    for part in schemas:
        if name in (part.get("properties") or {}):
            yield part["properties"][name]
        yield from (part.get("patternProperties") or {}).values()
        yield part.get("additionalProperties")


def _at(schemas: list[dict[str, Any]], i: int) -> Iterator[Any]:
    for part in schemas:
        for key in ("prefixItems", "items"):
            inner = part.get(key)
            yield inner[i] if isinstance(inner, list) and i < len(inner) else inner
        yield from (part.get(key) for key in ("additionalItems", "contains"))
