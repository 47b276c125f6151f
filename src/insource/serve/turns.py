"""The parts of a call's messages, held to OpenAI's form before anything reads them.

What a message may hold is a table: the type of a part or of a call, and where in it which kind of value must stand.
Types not listed here go through as they are. Source: OpenAI API reference, chat completions, `messages`.
"""

from collections.abc import Mapping, Sequence

from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue

Fields = Mapping[str, tuple[type, ...]]
TEXT, ABSENT = (str,), (str, type(None))
PARTS: Mapping[str, Fields] = {
    "text": {"text": TEXT},
    "refusal": {"refusal": TEXT},
    "image_url": {"image_url": (dict,), "image_url.url": TEXT},
    "input_audio": {"input_audio": (dict,)},
    "file": {"file": (dict,)},
}
CALLS: Mapping[str, Fields] = {
    "function": {"id": ABSENT, "function": (dict,), "function.name": TEXT, "function.arguments": ABSENT},
    "custom": {"id": ABSENT, "custom": (dict,), "custom.name": TEXT, "custom.input": ABSENT},
}
KINDS = {str: "a text", dict: "an object", type(None): "nothing"}


def check_turn(content: JsonValue, calls: Sequence[JsonObject] | None, at: str) -> None:
    """Holds the content and the `tool_calls` of the message `at` to their form. Raises `Invalid` naming the place."""
    for i, part in enumerate(content if isinstance(content, list) else ()):
        _check(part, PARTS, part.get("type"), f"{at}.content[{i}]")
    for i, call in enumerate(calls or ()):
        _check(call, CALLS, call.get("type", "function"), f"{at}.tool_calls[{i}]")


def _check(given: JsonObject, table: Mapping[str, Fields], kind: JsonValue, at: str) -> None:
    if not isinstance(kind, str):
        raise Invalid("the type is missing or no text", hint=f"types: {', '.join(table)}", at=f"{at}.type")
    for path, kinds in table.get(kind, {}).items():
        value: JsonValue = given
        for step in path.split("."):
            value = value.get(step)
        if not isinstance(value, kinds):
            expected = " or ".join(KINDS[one] for one in kinds)
            raise Invalid(f"{path} of what has the type {kind} is {expected}", at=f"{at}.{path}")
