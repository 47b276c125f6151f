"""Function calling: what a caller offers, how the model is told, what it may then say, and what it said.

A call is written as <tool_call>{"name":"…","arguments":{…}}</tool_call>. The name is one of those offered and the
arguments follow that function's own JSON Schema, so no call can be misread. Wire format: OpenAI API reference, chat
completions, `tools` and `tool_choice`.
"""

import json
import re
from collections.abc import Sequence
from itertools import groupby

import msgspec

from insource.decode.check import parse_json, read_once
from insource.decode.grammar import for_schema
from insource.errors import Invalid, OutputInvalid
from insource.nouns import JsonObject, JsonValue, Message, Noun, to_json
from insource.nouns.request import text_of

OPEN, CLOSE = "<tool_call>", "</tool_call>"
HEARD, HEARD_END = "<tool_response>", "</tool_response>"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST = 128
NOTHING: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
FORM = f'{OPEN}{{"name": …, "arguments": {{…}}}}{CLOSE}'
MUST = f"Call the one function that fits the last message. Answer with {FORM} and nothing else."
MAY = f"To call one, answer with {FORM} and nothing else. Where none fits, answer in words."
CHOICES = "auto, required, none, or one of the functions offered"


class Function(Noun, frozen=True, kw_only=True):
    """A function as a caller describes it. `parameters` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: JsonObject


class Offer(Noun, frozen=True, kw_only=True):
    """The functions that may be called now, one a call at most. With `must` one of them has to be."""

    functions: tuple[Function, ...]
    must: bool


def offer_of(tools: Sequence[JsonObject] | None, choice: JsonValue) -> Offer | None:
    """What `tools` and `tool_choice` offer; None where nothing may be called.

    Raises `Invalid` naming the place: for what is no function, a name twice, or a choice of one that is not offered.
    """
    functions = tuple(_function(tool, f"tools[{i}]") for i, tool in enumerate(tools or ()))
    names = [function.name for function in functions]
    if len(functions) > MOST or len(set(names)) < len(names):
        raise Invalid(f"tools holds one name twice, or more than {MOST} functions", at="tools")
    must, wanted = _chosen(choice, names)
    if wanted is not None and not set(wanted) <= set(names):
        raise Invalid(f"tool_choice asks for what tools does not offer; it is {CHOICES}", at="tool_choice")
    kept = tuple(function for function in functions if wanted is None or function.name in wanted)
    if must and not kept:
        raise Invalid("tool_choice demands a call and allows no function", at="tool_choice")
    return Offer(functions=kept, must=must) if kept else None


def for_offer(offer: Offer, otherwise: str | None = None) -> str:
    """The grammar of a call of one of the functions, or where none must be called of words that begin no call.

    `otherwise` is the grammar of what takes the place of words. Raises `Invalid` naming function, keyword and path for
    a schema that cannot be honoured whole.
    """
    parts, calls = [], []
    for i, function in enumerate(offer.functions):
        parts.append(_named(f"arguments{i}", _of(function)))
        head = json.dumps(_head(function), ensure_ascii=False)
        calls.append(f"{head} @arguments{i} {json.dumps('}' + CLOSE)}")
    rules = ["call: " + " | ".join(calls)]
    if offer.must:
        rules.append("start: call")
    elif otherwise is not None:
        parts.append(_named("otherwise", otherwise))
        rules.append("start: call | @otherwise")
    else:
        rules += ['start: call | WORDS | ""', f"WORDS: /(?s:.+)/ & ~/(?s:{OPEN}.*)/"]
    whole = {"name": "calls", "lark_grammar": "\n".join(rules)}
    return to_json({"grammars": [whole, *parts]}).decode()


def told(messages: Sequence[Message], offer: Offer | None) -> tuple[Message, ...]:
    """The conversation for a model that knows words only: functions in the system's turn, calls and results as text."""
    turns: list[Message] = []
    for heard, group in groupby(messages, key=lambda message: message.role == "tool"):
        if heard:  # in one turn, since many templates want user and assistant to take turns
            turns.append(Message(role="user", content="\n".join(map(_heard, group))))
        else:
            turns += [_spoken(message) if message.tool_calls else message for message in group]
    if offer is None:
        return tuple(turns)
    led = bool(turns) and turns[0].role in ("system", "developer")
    words = [text_of(turns[0].content)] if led else []
    return (Message(role="system", content="\n\n".join([*words, _described(offer)])), *turns[led:])


def called(offer: Offer, text: str) -> tuple[str, str]:
    """Name and arguments (as JSON) of the call in `text`. Raises `OutputInvalid` for anything but a valid call."""
    for function in offer.functions:
        head, end = _head(function), "}" + CLOSE
        if text.startswith(head) and text.endswith(end):
            arguments = text[len(head) : -len(end)]
            parse_json(function.parameters, arguments)
            return function.name, read_once(arguments)
    raise OutputInvalid("the answer is no call of a function that was offered")


def _function(tool: JsonObject, at: str) -> Function:
    given = tool.get("function")
    if tool.get("type") != "function" or not isinstance(given, dict):
        raise Invalid("a tool is a function here", hint='{"type": "function", "function": {"name": …}}', at=at)
    name, description, parameters = (given.get(key) for key in ("name", "description", "parameters"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Invalid("a function's name has 1 to 64 of a-z, A-Z, 0-9, _ and -", at=f"{at}.function.name")
    parameters = NOTHING if parameters is None else parameters
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise Invalid(f"the parameters of {name} are no schema of an object", at=f"{at}.function.parameters")
    return Function(name=name, description=str(description or ""), parameters={"type": "object", **parameters})


def _chosen(choice: JsonValue, names: list[str]) -> tuple[bool, list[str] | None]:
    """Whether a function must be called, and which may be; None is all of them."""
    plain: dict[str, tuple[bool, list[str] | None]] = {"none": (False, []), "auto": (False, None)}
    if choice is None or choice in ("none", "auto"):
        return plain[choice or "auto"]
    if choice == "required" and names:
        return True, None
    kind = choice.get("type") if isinstance(choice, dict) else None
    given = choice.get(kind) if isinstance(choice, dict) and isinstance(kind, str) else None
    if kind == "function" and isinstance(given, dict):
        return True, [str(given.get("name"))]
    if kind == "allowed_tools" and isinstance(given, dict) and given.get("mode") in ("auto", "required"):
        listed = given.get("tools")
        allowed = [_name_in(tool) for tool in listed] if isinstance(listed, list) else [None]
        if None not in allowed:
            return given["mode"] == "required", [str(name) for name in allowed]
    raise Invalid(f"tool_choice is {CHOICES}", hint='{"type": "function", "function": {"name": …}}', at="tool_choice")


def _name_in(tool: JsonValue) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _of(function: Function) -> str:
    """The grammar of its arguments. What the schema does not name, no function is given, even where it may be there."""
    try:
        return for_schema(function.parameters, closed=True)
    except Invalid as error:
        at = f"tools.{function.name}.parameters{error.at.removeprefix('#')}"
        raise Invalid(f"the arguments of {function.name}: {error}", hint=error.hint, at=at) from error


def _named(name: str, grammar: str) -> JsonObject:
    (part,) = msgspec.json.decode(grammar)["grammars"]
    return {**part, "name": name}


def _head(function: Function) -> str:
    return f'{OPEN}{{"name":"{function.name}","arguments":'


def _described(offer: Offer) -> str:
    lines = [to_json(function).decode() for function in offer.functions]
    return "\n".join(["You can call these functions, each with arguments valid for its JSON Schema:", *lines,
                      MUST if offer.must else MAY])  # fmt: skip


def _heard(message: Message) -> str:
    """What a function gave back; it cannot end its own marks."""
    return f"{HEARD}\n{text_of(message.content).replace(HEARD_END, '< /tool_response>')}\n{HEARD_END}"


def _spoken(message: Message) -> Message:
    said = [text_of(message.content), *map(_written, message.tool_calls or ())]
    return Message(role=message.role, content="\n".join(filter(None, said)))


def _written(call: JsonObject) -> str:
    """A call of an earlier turn, in the form of new ones."""
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str | None):
        raise Invalid("a call of an earlier turn is no function with its arguments in a text", at="messages")
    return f'{OPEN}{{"name":{json.dumps(function.get("name"))},"arguments":{arguments or "{}"}}}{CLOSE}'
