"""When two values are the same thing said twice."""

import re
import unicodedata
from collections.abc import Hashable
from typing import Any

from insource.nouns.base import JsonValue


def same(a: JsonValue, b: JsonValue) -> bool:
    """Equal after `normal`."""
    return bool(normal(a) == normal(b))


def likeness(value: JsonValue) -> Hashable:
    """The `normal` form as something that sets hold: equal where `same` says so."""
    return _held(normal(value))


def normal(value: JsonValue) -> JsonValue:
    """A value as it is compared: text in NFKC, case folded, blanks folded; nothing, "", [] and {} are all None.

    1 and 1.0 are equal, 1 and true are not, "9.00" and "9.0" are not; lists keep their order.
    """
    if isinstance(value, bool):
        return ("true or false", value)
    if isinstance(value, str):
        return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", value)).strip().casefold() or None
    if isinstance(value, list):
        return [normal(item) for item in value] or None
    if isinstance(value, dict):
        kept = {key: normal(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None} or None
    return value


def _held(value: Any) -> Hashable:
    if isinstance(value, list):
        return ("a list", *map(_held, value))
    return frozenset((name, _held(item)) for name, item in value.items()) if isinstance(value, dict) else value
