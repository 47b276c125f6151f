"""JSON values against a policy: every text in them, names of keys, and numbers long enough to be someone's."""

import msgspec

from insource.errors import Invalid, ScanFailed
from insource.nouns import DEEPEST, Finding, JsonObject, JsonValue, Noun, depth_ok
from insource.nouns.finding import Action
from insource.scan.originals import Originals
from insource.scan.scanner import Scanned, Scanner

DIGITS = 7  # a number of fewer identifies nobody
KEY = "~key"  # ends the pointer to the name of a key


class ScannedValue(Noun, frozen=True, kw_only=True):
    """What came of a value; null when it is blocked. A number that was redacted has become a text."""

    value: JsonValue
    action: Action | None = None
    findings: tuple[Finding, ...] = ()


def scan_value(value: JsonValue, scanner: Scanner, originals: Originals | None = None) -> ScannedValue:
    """All texts of a JSON value, a row or the arguments of a call. Raises `Invalid` when it nests too deep."""
    if not depth_ok(value):
        raise Invalid(f"the value nests deeper than {DEEPEST}")
    found: list[Finding] = []
    made = _walk(value, "", scanner, (Originals() if originals is None else originals, found))
    action = scanner.policy.strictest(tuple(found))
    return ScannedValue(value=None if action == "block" else made, action=action, findings=tuple(found))


def scan_arguments(text: str, scanner: Scanner, originals: Originals | None = None) -> Scanned:
    r"""The arguments of a call, which are JSON in a text; what is no JSON is scanned as the text it is.

    JSON can spell "@" as "\u0040" and name a key twice. So what goes on is written anew from what was scanned, and
    arguments that come as a stream are to be held until they are whole. `Finding.at` says where in the value.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return scanner.scan(text, originals)
    done = scan_value(value, scanner, originals)
    said = "" if done.action == "block" else msgspec.json.encode(done.value).decode()
    return Scanned(text=said, action=done.action, findings=done.findings)


def _walk(value: JsonValue, at: str, scanner: Scanner, into: tuple[Originals, list[Finding]]) -> JsonValue:
    if isinstance(value, str):
        return _text(value, at, scanner, into)
    if isinstance(value, int | float) and not isinstance(value, bool):
        said = str(value)
        kept = _text(said, at, scanner, into) if len(said) >= DIGITS else said
        return value if kept == said else kept
    if isinstance(value, list | tuple):
        return [_walk(each, f"{at}/{number}", scanner, into) for number, each in enumerate(value)]
    if isinstance(value, dict):
        return _object(value, at, scanner, into)
    return value


def _object(value: JsonObject, at: str, scanner: Scanner, into: tuple[Originals, list[Finding]]) -> JsonObject:
    made = {}
    for key, each in value.items():
        name = _text(key, f"{at}/{KEY}", scanner, into)
        step = key.replace("~", "~0").replace("/", "~1") if name == key else KEY
        made[name] = _walk(each, f"{at}/{step}", scanner, into)
    if len(made) != len(value):
        raise ScanFailed("two keys of an object would become one", hint="rename the keys, or note instead of redact")
    return made


def _text(text: str, at: str, scanner: Scanner, into: tuple[Originals, list[Finding]]) -> str:
    originals, found = into
    done = scanner.scan(text, originals)
    found += [msgspec.structs.replace(each, at=at) for each in done.findings]
    return done.text
