"""minProperties and maxProperties beside names that may be missing: the choices of names, each a schema of its own."""

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

from insource.decode.negation import Hard
from insource.nouns import JsonObject

WAYS = 128
COUNTS = ("minProperties", "maxProperties")


def counted(part: JsonObject) -> list[JsonObject]:
    """`part`, an object's normal schema, as schemas in which the engine can count: all named properties are required.

    Raises `Hard` for more than 128 choices, and where two properties must be there that nobody names: a grammar cannot
    tell whether they have the same name.
    """
    required = part.get("required", [])
    optional = [name for name, each in part.get("properties", {}).items() if name not in required and each is not False]
    further = part.get("additionalProperties") is not False or bool(part.get("patternProperties"))
    low, high = part.get("minProperties", 0) - len(required), part.get("maxProperties", math.inf) - len(required)
    limited = high < (math.inf if further else len(optional))
    plain = {key: each for key, each in part.items() if key not in COUNTS}
    if further and low > 1:
        raise Hard("minProperties")
    if low <= 0 and not limited:
        return [plain]
    if not further and low > len(optional):
        return []
    if limited:
        return [_with(part if further else plain, *way) for way in _exactly(optional, 0 if further else low, high)]
    return [_with(plain, *way) for way in _first(optional, int(low))] + ([_with(part, (), optional)] if further else [])


Way = tuple[Iterable[str], Iterable[str]]


def _exactly(optional: list[str], low: float, high: float) -> Iterator[Way]:
    """Every choice of `low` to `high` names, and the names left out."""
    counts = range(max(0, int(low)), int(min(high, len(optional))) + 1)
    _check(sum(math.comb(len(optional), n) for n in counts))
    for n in counts:
        for chosen in combinations(optional, n):
            yield chosen, [name for name in optional if name not in chosen]


def _first(optional: list[str], n: int) -> Iterator[Way]:
    """Every choice of the first `n` names that are there, and those before them that are not."""
    _check(math.comb(len(optional), n))
    for chosen in combinations(optional, n):
        yield chosen, [name for name in optional[: optional.index(chosen[-1])] if name not in chosen]


def _check(ways: int) -> None:
    if ways > WAYS:
        raise Hard("minProperties")


def _with(part: JsonObject, chosen: Iterable[str], gone: Iterable[str]) -> JsonObject:
    """`part` with these of the optional names and without those."""
    named = {**part.get("properties", {}), **dict.fromkeys(gone, False)}
    return {**part, "properties": named, "required": [*part.get("required", []), *chosen]}
