"""Reads model output as any program would: the standard library's JSON and two validators, nothing of ours.

The package jsonschema, where it is installed, and jsonschema-rs, which knows more formats, must both find nothing.
`VALIDATOR` says which were there.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

PACKAGES = [name for name in ("jsonschema", "jsonschema_rs") if find_spec(name)]
VALIDATOR = " and ".join(PACKAGES)
Fault = Callable[[Any], str]


def fault(schema: dict[str, Any], text: str) -> str:
    """What is wrong with `text` as JSON under `schema`; empty when nothing is."""
    try:
        value = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return next(filter(None, (held(value) for held in _validators(json.dumps(schema)))), "")


def twice(text: str) -> bool:
    """Whether a key stands twice in an object of `text`: RFC 8259 advises against it, readers take the last."""
    found = False

    def seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found |= len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=seen)
    return found


@lru_cache(maxsize=4096)
def _validators(schema: str) -> list[Fault]:
    made = {"jsonschema": _python, "jsonschema_rs": _rust}
    return [made[name](json.loads(schema)) for name in PACKAGES]


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


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
