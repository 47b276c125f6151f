"""Anthropic's Messages wire: conversations out, answers and events in. Source: Anthropic API reference, messages."""

from collections.abc import Sequence

import msgspec

from insource.decode.calls import offer_of
from insource.engines.remote_wire import Heard, Wire, counted
from insource.errors import Invalid
from insource.nouns import JsonObject, Message, Request, to_json
from insource.nouns.request import text_of

CHOICES = {"auto": "auto", "required": "any", "none": "none"}
ASIDE = ("system", "developer")


def said(messages: Sequence[Message], request: Request) -> JsonObject:
    """System words apart, turns of user and assistant, and the caller's tools where no task is answered."""
    system = "\n\n".join(text_of(message.content) for message in messages if message.role in ASIDE)
    turns: list[JsonObject] = []
    for message in messages:
        if message.role in ASIDE:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    whole: JsonObject = {"messages": turns} | ({"system": system} if system else {})
    return whole if request.task else whole | _tools(request)


def take(heard: Heard, data: JsonObject, part: str) -> str:
    """Adds a whole message, or one event of a stream; returns its text."""
    if part == "delta":
        return EVENTS.get(data["type"], _nothing)(heard, data)
    _spent(heard, data["usage"])
    heard.reason = data["stop_reason"]
    heard.refusal += _refused(data)
    return "".join(_block(heard, position, block) for position, block in enumerate(data["content"]))


def _start(heard: Heard, data: JsonObject) -> str:
    _spent(heard, data["message"]["usage"])
    return ""


def _block_start(heard: Heard, data: JsonObject) -> str:
    return _block(heard, int(data["index"]), data["content_block"] | {"input": None})


def _block_delta(heard: Heard, data: JsonObject) -> str:
    delta = data["delta"]
    text = str(delta.get("text") or "")
    arguments = str(delta.get("partial_json") or "")
    if heard.bound:
        text += arguments
    elif arguments:
        heard.call(int(data["index"]), arguments=arguments)
    heard.say(text)
    return text


def _delta(heard: Heard, data: JsonObject) -> str:
    _spent(heard, data.get("usage") or {})
    heard.reason = data["delta"].get("stop_reason") or heard.reason
    heard.refusal += _refused(data["delta"])
    return ""


def _stop(heard: Heard, _: JsonObject) -> str:
    heard.ended = True
    return ""


def _nothing(_: Heard, __: JsonObject) -> str:
    return ""


EVENTS = {
    "message_start": _start,
    "content_block_start": _block_start,
    "content_block_delta": _block_delta,
    "message_delta": _delta,
    "message_stop": _stop,
}


def _block(heard: Heard, position: int, block: JsonObject) -> str:
    """One block of content; the tool that stands for a task's schema holds the answer itself."""
    if block["type"] == "tool_use":
        arguments = "" if block["input"] is None else to_json(block["input"]).decode()
        if heard.bound:
            heard.say(arguments)
            return arguments
        heard.call(position, id=block["id"], name=block["name"], arguments=arguments)
        return ""
    text = str(block.get("text") or "")
    heard.say(text)
    return text


def _spent(heard: Heard, usage: JsonObject) -> None:
    read = [counted(usage.get(f"{kind}input_tokens")) for kind in ("", "cache_creation_", "cache_read_")]
    known = [count for count in read if count is not None]
    heard.spent(sum(known) if known else None, usage.get("output_tokens"))


def _refused(data: JsonObject) -> str:
    if data.get("stop_reason") != "refusal":
        return ""
    return str((data.get("stop_details") or {}).get("explanation") or "the model refuses")


def _blocks(message: Message) -> list[JsonObject]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": text_of(message.content)}]
    content = message.content
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return [*map(_part, filter(_says, parts)), *map(_use, message.tool_calls or [])]


def _says(part: JsonObject) -> bool:
    return part.get("type") != "text" or bool(part.get("text"))


def _part(part: JsonObject) -> JsonObject:
    """A part of a message; an image given as data travels as data, one given by address as its address."""
    if part.get("type") != "image_url":
        return {"type": "text", "text": part.get("text", "")}
    url = address_of(part)
    kind, comma, data = url.partition(";base64,")
    if comma and kind.startswith("data:"):
        source = {"type": "base64", "media_type": kind.removeprefix("data:"), "data": data}
    else:
        source = {"type": "url", "url": url}
    return {"type": "image", "source": source}


def address_of(part: JsonObject) -> str:
    """Where the image of a part lies. Raises `Invalid` when it says nothing of it."""
    image = part.get("image_url")
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise Invalid('an image_url is an object with a text "url"', at="messages")
    address: str = image["url"]
    return address


def _use(call: JsonObject) -> JsonObject:
    function = function_of(call)
    return {"type": "tool_use", "id": call.get("id"), "name": function["name"], "input": function["arguments"]}


def function_of(call: JsonObject) -> JsonObject:
    """Name and arguments of an earlier call, whose arguments are JSON in a text. Raises `Invalid` for what is none."""
    function = call.get("function")
    if not isinstance(function, dict):
        raise Invalid("a call of an earlier turn is no function", at="messages")
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        words = f"the arguments of the call of {function.get('name')!r} are no JSON in a text: {error}"
        raise Invalid(words, at="messages") from error
    return {"name": function.get("name"), "arguments": arguments}


def _tools(request: Request) -> JsonObject:
    """The tools and which may be called. Raises `Invalid` for what is no offer, with its place."""
    offer = offer_of(request.tools, request.tool_choice)
    choice, tools = request.tool_choice, [tool["function"] for tool in request.tools or ()]
    if not tools:
        return {}
    said: JsonObject | None = {"type": CHOICES[choice]} if isinstance(choice, str) else None
    if isinstance(choice, dict) and offer is not None:
        names = [function.name for function in offer.functions]
        if choice["type"] == "function":
            said = {"type": "tool", "name": names[0]}
        else:  # those allowed: the wire has no word for some of the tools
            tools = [tool for tool in tools if tool["name"] in names]
            said = {"type": CHOICES["required" if offer.must else "auto"]}
    return {"tools": [_tool(tool) for tool in tools]} | ({"tool_choice": said} if said else {})


def _tool(function: JsonObject) -> JsonObject:
    whole = {
        "name": function.get("name"),
        "description": function.get("description"),
        "input_schema": function.get("parameters") or {"type": "object"},
    }
    return {key: value for key, value in whole.items() if value is not None}


ANTHROPIC = Wire(said, take)
