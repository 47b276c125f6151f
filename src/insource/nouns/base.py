"""What every noun shares: frozen, no unknown fields, JSON there and back, and identity by content."""

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from insource.errors import Invalid

JsonValue = Any  # str | int | float | bool | None | list | dict; msgspec has no recursive type alias
JsonObject = dict[str, JsonValue]
T = TypeVar("T")
DEEPEST = 64


class Noun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value. Build it with keywords; change it with `msgspec.structs.replace`."""


def to_json(value: object) -> bytes:
    """Compact JSON of any noun or plain value, keys in field order."""
    return msgspec.json.encode(value)


def from_json(data: bytes | str, kind: type[T]) -> T:
    """The noun that `data` spells. Raises `Invalid` naming the path of the fault."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"not a valid {kind.__name__}: {error}") from error


def stamp(seconds: float) -> str:
    """A time since 1970 as records say it: UTC, ISO 8601, to the millisecond."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()


def depth_ok(value: object) -> bool:
    """True when lists and objects nest at most `DEEPEST` deep; told without recursion."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [x for v in level if isinstance(v, dict | list) for x in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return True
    return not any(isinstance(v, dict | list) for v in level)


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no blanks: the form whose SHA-256 names a thing."""
    return msgspec.json.encode(value, order="deterministic")


def sha256_given(text: str) -> str:
    """The SHA-256 that somebody typed, in lower case; "" stays so. Raises `Invalid` unless it is 64 hex digits."""
    if text and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise Invalid(f"{text!r} is no SHA-256: 64 digits of 0-9a-f are", hint="sha256sum FILE prints it")
    return text.lower()


def digest(value: object) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of `value`, or of the bytes themselves."""
    data = value if isinstance(value, bytes) else canonical(value)
    return hashlib.sha256(data).hexdigest()
