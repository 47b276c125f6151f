"""A gathered schema as cases of plain schemas: no allOf, oneOf, not, if or dependencies, and nothing beside a `$ref`.

Within one value all that must hold is merged and every choice becomes a case of one anyOf, so that what bounds an
object stands in one place. Where references meet, what they say together becomes a definition of its own; that is what
keeps schemas that refer to themselves finite.
"""

from collections.abc import Iterable
from typing import Any

from insource.decode.inhabited import inhabited, openings
from insource.decode.keywords import inside, refuse, subschemas
from insource.decode.known import Known, Terms
from insource.decode.merging import Part, merged
from insource.decode.negation import Hard
from insource.decode.references import Gathered
from insource.decode.rewriting import HINTS, RULES, exclusive
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, canonical

UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")  # they look at all that stands with them
LEVELS, WAYS = 20_000, 2_500
PREFIX = "#/$defs/"
Placed = tuple[JsonValue, str]


class Normal:
    """One pass over what was gathered. `schema()` is the whole; raises `Invalid` with keyword and place.

    `places` says for each of its definitions where in the given schema that stands.
    """

    def __init__(self, gathered: Gathered) -> None:
        self._gathered, self._terms = gathered, Terms(gathered.definitions)
        self.places: dict[str, str] = {}
        self._made: dict[str, Any] = {}
        self._names: dict[bytes, str] = {}
        self._waiting: list[tuple[str, list[Placed]]] = []

    def schema(self) -> JsonObject:
        """The root, its definitions beside it. Raises `Invalid` where no value can be valid."""
        root = self._one([(self._gathered.root, "")])
        levels = 0
        while self._waiting:
            name, parts = self._waiting.pop()
            self._made[name] = self._build(parts)
            levels += _levels(self._made[name])
            if levels > LEVELS:
                raise Invalid(f"the schema has more than {LEVELS:,} levels with its references", hint="split the task")
        whole: JsonObject = {**(root if isinstance(root, dict) else {}), "$defs": self._made}
        made = None if root is False else inhabited(whole)
        if made is None:
            raise Invalid(
                "the schema cannot be honoured by a grammar: no value is valid for it", hint="check its bounds"
            )
        if any(openings(part, made["$defs"]) > WAYS for _, part in subschemas(made) if "anyOf" in part):
            raise Invalid("the schema has too many cases to decode by", hint="split the task, or say less with anyOf")
        return made

    def _one(self, parts: Iterable[Placed]) -> Any:
        """The schema of a value that satisfies all `parts`."""
        held = list(
            {canonical(part): (part, place) for part, place in parts if part is not True and part != {}}.values()
        )
        if any(part is False for part, _ in held):
            return False
        if not held:
            return True
        if any("$ref" in part or "allOf" in part for part, _ in held if isinstance(part, dict)):
            return {"$ref": PREFIX + self._named(held)}
        return self._build(held)

    def _named(self, parts: list[Placed]) -> str:
        """The definition of what `parts` say together."""
        key = canonical([part for part, _ in parts])
        if key not in self._names:
            self._names[key] = str(len(self._names))
            self.places[self._names[key]] = parts[0][1]
            self._waiting.append((self._names[key], parts))
        return self._names[key]

    def _build(self, parts: list[Placed]) -> Any:
        cases = list({canonical(case): case for case in self._cases(parts) if case is not False}.values())
        return {"anyOf": cases} if len(cases) > 1 else cases[0] if cases else False

    def _cases(self, parts: list[Placed]) -> list[JsonValue]:
        """The plain schemas one of which a value satisfies that satisfies all `parts`."""
        flat = self._said_plainly(parts)
        known = Known(self._terms, tuple(part for part, _ in flat))
        if known.impossible():
            return []
        choice = min(((len(part["anyOf"]), i) for i, (part, _) in enumerate(flat) if "anyOf" in part), default=None)
        if choice is None:
            return self._merged(flat, known)
        return self._choose(flat, choice[1])

    def _merged(self, flat: list[Part], known: Known) -> list[JsonValue]:
        try:
            return list(merged(flat, known, self._one))
        except Hard as hard:
            refuse(hard.keyword, flat[0][1], "no schema says the rest")

    def _choose(self, flat: list[Part], i: int) -> list[JsonValue]:
        """One case after the other of the anyOf in part `i`."""
        part, place = flat[i]
        keys = list(part)
        first = "properties" in part and keys.index("properties") < keys.index("anyOf")
        rest = {key: each for key, each in part.items() if key != "anyOf"}
        beside = [*flat[:i], *([(rest, place)] if rest else []), *flat[i + 1 :]]
        at = i + (1 if first else 0)
        found: list[JsonValue] = []
        for n, case in enumerate(part["anyOf"]):
            held = [*beside[:at], (case, f"{place}/anyOf/{n}"), *beside[at:]]
            if not Known(self._terms, tuple(part for part, _ in held)).impossible():
                found.append(self._one(held))
        return found

    def _said_plainly(self, parts: list[Placed]) -> list[Part]:
        """`parts` opened, with what `decode.rewriting` says in place of keywords that have no rule of their own."""
        flat = list(self._opened(parts))
        while any(key in RULES or key == "oneOf" for part, _ in flat for key in part):
            plain = [{k: v for k, v in part.items() if k not in RULES and k != "oneOf"} for part, _ in flat]
            known = Known(self._terms, tuple(plain))
            said: list[Placed] = []
            for (part, place), left in zip(flat, plain, strict=True):
                keys = [*part, "properties"]
                first = keys.index("properties")
                added = {key: self._rewritten(part, key, known, place) for key in part}
                said += [(each, place) for key in keys[:first] for each in added[key]]
                said.append((left, place))
                said += [(each, place) for key in keys[first:-1] for each in added[key]]
            flat = list(self._opened(said))
        return flat

    def _rewritten(self, part: JsonObject, key: str, known: Known, place: str) -> list[JsonValue]:
        try:
            if key == "oneOf":
                return [{"anyOf": exclusive(part["oneOf"], known)}]
            return RULES[key](part, known) if key in RULES else []
        except Hard as hard:
            key = next((each for each in UNEVALUATED if each in part.get("unevaluated", ())), key)
            refuse(key, place, f"{HINTS.get(key, 'name what is allowed instead')} (because of {hard.keyword})")

    def _opened(self, parts: Iterable[Placed]) -> Iterable[Part]:
        """The parts with allOf and references opened, in the order in which they name properties."""
        for part, place in parts:
            if part is False:
                yield {"enum": []}, place
            if not isinstance(part, dict) or not part:
                continue
            own, before = _own(part)
            if own and before:
                yield own, place
            inner = [(each, f"{place}/allOf/{i}") for i, each in enumerate(part.get("allOf", []))]
            yield from self._opened(inner)
            if "$ref" in part:
                name = part["$ref"].removeprefix(PREFIX)
                yield from self._opened([(self._gathered.definitions[name], self._gathered.places[name])])
            if own and not before:
                yield own, place


def _own(part: JsonObject) -> tuple[JsonObject, bool]:
    """What `part` says itself, and whether it names its properties before those it includes."""
    own = {key: each for key, each in part.items() if key not in ("allOf", "$ref", *UNEVALUATED)}
    if any(key in part for key in UNEVALUATED):
        own["unevaluated"] = part
    keys = list(part)
    included = [keys.index(key) for key in ("allOf", "$ref") if key in part]
    return own, "properties" not in part or all(at > keys.index("properties") for at in included)


def _levels(schema: JsonValue) -> int:
    """How deep a normal schema is nested; what it refers to apart."""
    if not isinstance(schema, dict):
        return 0
    return 1 + max((_levels(each) for _, each in inside(schema)), default=0)
