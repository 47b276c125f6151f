"""Keywords the grammar engine has no rule for, said with those it has.

Each rule gives schemas that must hold as well. Together with what is `known` they mean the same as the keyword, or less
where `docs/reference/schemas.md` says so; never more. `Hard` names what stands in the way.
"""

from collections.abc import Callable
from itertools import combinations, permutations

from insource.decode.known import Known, alike
from insource.decode.negation import Cases, Hard, one_of, type_list, without
from insource.nouns import JsonObject, JsonValue

CONTAINED = 8
UNIQUE = 5
CASES = 128


def exclusive(cases: list[JsonValue], known: Known) -> list[JsonValue]:
    """The cases of a oneOf so that no two of them hold at once. Raises `Hard`."""
    if len(cases) > CASES:
        raise Hard(f"more than {CASES} cases")
    overlapping: list[list[int]] = [[] for _ in cases]
    for i, j in combinations(range(len(cases)), 2):
        if not known.also(cases[i], cases[j]).impossible():
            overlapping[i].append(j)
            overlapping[j].append(i)
    made: list[JsonValue] = []
    for i, case in enumerate(cases):
        others = [without(cases[j], known.also(case)) for j in overlapping[i]]
        if all(others):
            made.append({"allOf": [case, *map(one_of, others)]} if others else case)
    return made


def _opposite(part: JsonObject, known: Known) -> list[JsonValue]:
    return [one_of(without(part["not"], known))]


def _conditional(part: JsonObject, known: Known) -> list[JsonValue]:
    condition, then, otherwise = part["if"], part.get("then", True), part.get("else", True)
    if then is True and otherwise is True:
        return []
    unmet = without(condition, known)
    cases: Cases = [{"allOf": [condition, then]}]
    return [one_of([*cases, {"allOf": [one_of(unmet), otherwise]}] if unmet else cases)]


def _needs(part: JsonObject, known: Known) -> list[JsonValue]:
    """A name is missing, or what it needs is there."""
    needs = {name: {"required": others} for name, others in part["dependentRequired"].items() if others}
    return _dependent(needs, known)


def _needs_schema(part: JsonObject, known: Known) -> list[JsonValue]:
    return _dependent(part["dependentSchemas"], known)


def _dependent(needs: JsonObject, known: Known) -> list[JsonValue]:
    said: list[JsonValue] = []
    sure, others = known.required(), known.kinds() - {"object"}
    for name, need in needs.items():
        there: JsonObject = {"type": "object", "required": [name]}
        if need is True or known.also(there).impossible():
            continue
        cases: Cases = [{"type": "object", "properties": {name: False}}] if name not in sure else []
        cases += [{"type": type_list(others)}] if others else []
        said.append(one_of([*cases, {"allOf": [there, need]}]))
    return said


def _containing(part: JsonObject, known: Known) -> list[JsonValue]:
    """One of the first eight items is of that kind."""
    least, wanted = part.get("minContains", 1), part["contains"]
    if "maxContains" in part or least > 1:
        raise Hard("maxContains" if "maxContains" in part else "minContains")
    if least == 0:
        return []
    room = int(min(known.most("maxItems", CONTAINED), CONTAINED))
    cases: Cases = [{"type": "array", "minItems": i + 1, "prefixItems": [*[True] * i, wanted]} for i in range(room)]
    others = known.kinds() - {"array"}
    return [one_of([*cases, {"type": type_list(others)}] if others else cases)]


def _unlike(part: JsonObject, known: Known) -> list[JsonValue]:
    """Every order of a few values, each once; nothing to say of a list of one."""
    if not part["uniqueItems"] or known.most("maxItems") <= 1 or "array" not in known.kinds():
        return []
    values = known.at(0).values()
    same = all("prefixItems" not in each for each in known.parts)
    if values is None or not same or len({alike(value) for value in values}) > UNIQUE:
        raise Hard("uniqueItems")
    each_once = list({alike(value): value for value in values}.values())
    low, high = int(known.least("minItems")), min(len(each_once), known.most("maxItems"))
    orders = [list(order) for n in range(low, int(high) + 1) for order in permutations(each_once, n)]
    others = known.kinds() - {"array"}
    return [one_of([{"enum": orders}, {"type": type_list(others)}] if others else [{"enum": orders}])]


def _named(part: JsonObject, known: Known) -> list[JsonValue]:
    """Names, where they are a list or a pattern."""
    names = part["propertyNames"]
    if names is True or "object" not in known.kinds():
        return []
    if names is False:
        return [_or_other({"type": "object", "maxProperties": 0}, known)]
    of_names = Known(known.terms, (names, {"type": "string"}))
    listed = of_names.values()
    if listed is not None:
        allowed = {"type": "object", "properties": dict.fromkeys(map(str, listed), True), "additionalProperties": False}
        return [_or_other(allowed, known)]
    hard = [key for each in of_names.parts for key in each if key not in ("pattern", "minLength", "maxLength", "type")]
    patterns = [each["pattern"] for each in of_names.parts if "pattern" in each]
    low, high = of_names.least("minLength"), of_names.most("maxLength")
    lengths = low > 0 or high < 1e9
    if hard or len(patterns) + lengths > 1:
        raise Hard(hard[0] if hard else "pattern")
    if not patterns and not lengths:
        return []
    pattern = patterns[0] if patterns else rf"^[\s\S]{{{int(low)},{int(high) if high < 1e9 else ''}}}$"
    return [_or_other({"type": "object", "patternProperties": {pattern: True}, "additionalProperties": False}, known)]


def _or_other(part: JsonObject, known: Known) -> JsonValue:
    """`part`, which names one type, and whatever is allowed of other types."""
    others = known.kinds() - {part["type"]}
    return one_of([part, {"type": type_list(others)}] if others else [part])


def _unevaluated(part: JsonObject, known: Known) -> list[JsonValue]:
    """What is left over, where it is certain what is not: named beside it, in an allOf or behind a reference."""
    beside = Known(known.terms, (part,)).parts
    rules = {"unevaluatedProperties": ("object", _left_over), "unevaluatedItems": ("array", _items_left_over)}
    said: list[JsonValue] = []
    for key, (kind, rule) in rules.items():
        if part.get(key, True) is True or kind not in known.kinds():
            continue
        for each in beside:
            for other in ("anyOf", "oneOf", "if", "dependentSchemas", *([key] if each is not part else [])):
                if other in each:
                    raise Hard(other)
        said += rule(part[key], beside, known)
    return said


def _left_over(rest: JsonValue, beside: list[JsonObject], known: Known) -> list[JsonValue]:
    if any("additionalProperties" in each for each in beside):
        return []
    names = dict.fromkeys((name for each in beside for name in each.get("properties", {})), True)
    patterns = dict.fromkeys((name for each in beside for name in each.get("patternProperties", {})), True)
    made: JsonObject = {"properties": names, "patternProperties": patterns, "additionalProperties": rest}
    return [_or_other({"type": "object", **made}, known)]


def _items_left_over(rest: JsonValue, beside: list[JsonObject], known: Known) -> list[JsonValue]:
    if any("items" in each for each in beside):
        return []
    if any("contains" in each for each in beside):
        raise Hard("contains")
    first = max(len(each.get("prefixItems", [])) for each in beside)
    return [_or_other({"type": "array", "prefixItems": [True] * first, "items": rest}, known)]


def _nothing(part: JsonObject, known: Known) -> list[JsonValue]:  # noqa: ARG001 - the table's form
    return []


Rule = Callable[[JsonObject, Known], list[JsonValue]]
RULES: dict[str, Rule] = {
    "not": _opposite,
    "if": _conditional,
    "dependentRequired": _needs,
    "dependentSchemas": _needs_schema,
    "contains": _containing,
    "uniqueItems": _unlike,
    "propertyNames": _named,
    "unevaluated": lambda part, known: _unevaluated(part["unevaluated"], known),
    **dict.fromkeys(("then", "else", "minContains", "maxContains"), _nothing),  # said with `if` and `contains`
}
HINTS = {
    "not": "name what is allowed instead",
    "oneOf": "make the cases exclude each other, or use anyOf",
    "uniqueItems": f"only for lists of at most {UNIQUE} known values: a grammar cannot remember earlier items",
    "if": "write the cases as anyOf",
    "contains": "say what every item is",
}
