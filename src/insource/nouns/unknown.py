"""Which keys of a table a noun does not know."""

import difflib
from typing import Any

import msgspec

from insource.nouns.base import JsonObject


def unknown(data: JsonObject, kind: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Every key of `data` that `kind` does not know, as (key, message); nested tables included."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            found.append((key, f"unknown key {prefix + key!r}{guess}"))
            continue
        for inner, name, table in _tables(known[key], key, value):
            found += unknown(table, inner, f"{prefix}{name}.")
    return found


def _tables(kind: Any, key: str, value: Any) -> list[tuple[Any, str, JsonObject]]:
    """The struct-typed tables that a key holds: itself, or each entry of a table or list of tables."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        return [(kind, key, value)]
    if isinstance(value, list):
        kind = getattr(kind, "__args__", (None,))[0]
        return [each for one in value if isinstance(one, dict) for each in _tables(kind, key, one)]
    inner: Any = next(iter(getattr(kind, "__args__", ())[1:]), None)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
        return [(inner, f"{key}.{name}", table) for name, table in value.items() if isinstance(table, dict)]
    return []
