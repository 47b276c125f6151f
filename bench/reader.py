"""Reads model output as any program would: the standard library's JSON and the jsonschema package, nothing of ours.

Where that package is not installed jsonschema-rs validates, which is also what serves; `VALIDATOR` says which it was.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

VALIDATOR = "jsonschema" if find_spec("jsonschema") else "jsonschema_rs"
Fault = Callable[[Any], str]


def fault(schema: dict[str, Any], text: str) -> str:
    """What is wrong with `text` as JSON under `schema`; empty when nothing is."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return _validator(json.dumps(schema))(value)


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Fault:
    return {"jsonschema": _python, "jsonschema_rs": _rust}[VALIDATOR](json.loads(schema))


def _python(schema: dict[str, Any]) -> Fault:
    import jsonschema

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    held = kind(schema, format_checker=kind.FORMAT_CHECKER)

    def said(value: Any) -> str:
        error = next(held.iter_errors(value), None)
        return "" if error is None else f"breaks the schema: {error.message[:160]}"

    return said


def _rust(schema: dict[str, Any]) -> Fault:
    import jsonschema_rs

    held = jsonschema_rs.validator_for(schema, validate_formats=True)

    def said(value: Any) -> str:
        error = next(held.iter_errors(value), None)
        return "" if error is None else f"breaks the schema: {error.message[:160]}"

    return said


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
