"""A schema with its references followed: whatever its draft, it becomes 2020-12 that speaks of nothing outside itself.

Every `$ref` then says `#/$defs/NAME`, definitions nobody refers to are gone, and so are notes, `$id` and anchors.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from insource.decode.check import check_form
from insource.decode.dialect import current
from insource.decode.keywords import (
    ASSERTIONS,
    DIALECTS,
    DRAFTS,
    LISTS,
    MAPS,
    OLD,
    ONE,
    check_keywords,
    draft,
    escape,
    inside,
    refuse,
)
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue

DEFINITIONS = 800
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Gathered:
    """What the rest of `decode` works on: `root`, its `definitions` by name, and the `places` they came from.

    Raises `Invalid` with keyword and place for a keyword that is misspelt or of another draft, a reference that leads
    outside, nowhere or round in a circle, and more than 800 definitions.
    """

    def __init__(self, schema: JsonObject) -> None:
        self.draft = draft(schema)
        self._known = DRAFTS[self.draft]
        if "$schema" not in schema or self.draft == "2020-12":
            self._known = self._known | {"prefixItems", "dependencies"}
        self._found: dict[int, tuple[str, str]] = {}  # a schema's identity → its base URI and its place
        self._resources: dict[str, JsonValue] = {"": schema}
        self._anchors: dict[tuple[str, str], JsonObject] = {}
        self._names: dict[tuple[int, str], str] = {}
        self._waiting: list[tuple[str, JsonValue]] = []
        self._kept = [schema]  # what is alive keeps its identity
        self._index(schema, "", "")
        self.definitions: dict[str, JsonValue] = {}
        self.places: dict[str, str] = {}
        self.root = self._copy(schema, "")
        while self._waiting:
            name, value = self._waiting.pop()
            self.definitions[name] = self._copy(value, self.places[name])
        self._check_circles()

    def _check_circles(self) -> None:
        """Raises `Invalid` where a schema includes itself without a step into the value: it says nothing that ends."""
        included = {name: list(_included(each)) for name, each in self.definitions.items()}
        done: set[str] = set()
        for start in included:
            waiting, path = [(start, False)], set()
            while waiting:
                name, leaving = waiting.pop()
                if leaving:
                    path.discard(name)
                    done.add(name)
                elif name in path:
                    refuse("$ref", self.places[name], "it refers to itself")
                elif name not in done:
                    path.add(name)
                    waiting += [(name, True), *((each, False) for each in included[name])]

    def _index(self, schema: JsonObject, base: str, place: str) -> None:
        """Notes where every schema stands, and by which URIs it can be called."""
        waiting = [(schema, base, place)]
        while waiting:
            part, base, place = waiting.pop()
            if place and "$schema" in part and draft(part) != self.draft:
                refuse("$schema", place, "one schema is of one draft")
            base = self._called(part, base)
            self._found[id(part)] = (base, place)
            for step, each in inside(part):
                if isinstance(each, dict):
                    waiting.append((each, base, f"{place}/{step}"))

    def _called(self, part: JsonObject, base: str) -> str:
        """The base URI inside `part`; its own names are noted."""
        own = part.get("id" if self.draft == "draft-04" else "$id")
        if isinstance(own, str) and not (self.draft in OLD and "$ref" in part):
            url, anchor = urldefrag(own)
            base = _joined(base, url) if url else base
            if url:
                self._resources.setdefault(base, part)
            if anchor:
                self._anchors.setdefault((base, anchor), part)
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(part.get(key), str):
                self._anchors.setdefault((base, part[key]), part)
        return base

    def _copy(self, value: JsonValue, place: str) -> Any:
        """`value` without notes, in the current dialect, its references by name."""
        if not isinstance(value, dict):
            return value
        alone = self.draft in OLD and "$ref" in value
        check_keywords({"$ref": ""} if alone else value, place, self._known)
        part: JsonObject = {}
        further: list[JsonObject] = []
        for key, inner in value.items():
            if key in REFERENCES and "$ref" not in part:
                part["$ref"] = f"#/$defs/{self._name(value, key, place)}"
            elif key in REFERENCES:
                further.append({"$ref": f"#/$defs/{self._name(value, key, place)}"})
            elif key in ASSERTIONS and not alone:
                part[key] = self._inner(key, inner, f"{place}/{key}")
        if further:
            part["allOf"] = [*part.get("allOf", []), *further]
        return current(part, place)

    def _inner(self, key: str, value: JsonValue, place: str) -> JsonValue:
        if key in MAPS and isinstance(value, dict):
            return {name: self._copy(each, f"{place}/{escape(name)}") for name, each in value.items()}
        if key in LISTS and isinstance(value, list):
            return [self._copy(each, f"{place}/{i}") for i, each in enumerate(value)]
        return self._copy(value, place) if key in ONE else value

    def _name(self, part: JsonObject, key: str, place: str) -> str:
        """The name in `definitions` of what `part` refers to; a chain of mere references is one."""
        target, where = self._target(part, key, place)
        seen = {id(part)}
        while isinstance(target, dict) and "$ref" in target and (self.draft in OLD or _bare(target)):
            if id(target) in seen:
                refuse(key, place, "it refers to itself")
            seen.add(id(target))
            target, where = self._target(target, "$ref", where)
        known = (id(target), where if isinstance(target, bool) else "")
        if known not in self._names:
            name = self._names[known] = str(len(self._names))
            if len(self._names) > DEFINITIONS:
                raise Invalid(f"the schema refers to more than {DEFINITIONS:,} definitions", hint="split the task")
            self.places[name] = where
            self._waiting.append((name, target))
        return self._names[known]

    def _target(self, part: JsonObject, key: str, place: str) -> tuple[JsonValue, str]:
        """What a reference leads to and where that stands. Raises `Invalid` when it leads nowhere."""
        said = part[key]
        base = self._found[id(part)][0] if id(part) in self._found else ""
        if not isinstance(said, str):
            refuse(key, place, "a reference is a text")
        url, fragment = urldefrag(_joined(base, said))
        fragment = unquote(fragment)
        found: tuple[JsonValue, str] | None = None
        if key != "$ref":
            return self._dynamic(key, fragment, place)
        if fragment and not fragment.startswith("/"):
            called = self._anchors.get((url, fragment))
            found = None if called is None else (called, self._found[id(called)][1])
        elif url in self._resources:
            found = self._at(self._resources[url], fragment)
        return found or refuse(key, place, "refer inside the schema (#/$defs/…)", f" {said!r}")

    def _dynamic(self, key: str, name: str, place: str) -> tuple[JsonValue, str]:
        """A dynamic reference is a plain one where only one schema bears its name."""
        bearers = [part for (_, anchor), part in self._anchors.items() if anchor == name]
        if key == "$recursiveRef" or len(bearers) != 1:
            refuse(key, place, "use $ref")
        return bearers[0], self._found[id(bearers[0])][1]

    def _at(self, value: JsonValue, pointer: str) -> tuple[JsonValue, str] | None:
        """What a JSON pointer finds in a resource."""
        base, place = self._found.get(id(value), ("", ""))
        for step in pointer.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            elif isinstance(value, dict) and step in value:
                value = value[step]
            else:
                return None
            place += f"/{escape(step)}"
            base = self._found.get(id(value), (base, ""))[0]
        if isinstance(value, dict) and id(value) not in self._found:
            check_form(value, DIALECTS[self.draft])  # nobody has taken it for a schema so far
            self._kept.append(value)
            self._index(value, base, place)
        return (value, place) if isinstance(value, dict | bool) else None


def _joined(base: str, reference: str) -> str:
    """`reference` seen from `base`, also where that is a URN."""
    return base + reference if reference.startswith("#") else urljoin(base, reference)


def _included(value: JsonValue) -> Iterator[str]:
    """The definitions that speak of the same value as `value` does."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield str(value["$ref"]).removeprefix("#/$defs/")
        for step, each in inside(value):
            if step.split("/")[0] in IN_PLACE:
                yield from _included(each)


def _bare(part: JsonObject) -> bool:
    return not any(key in ASSERTIONS for key in part if key != "$ref")
