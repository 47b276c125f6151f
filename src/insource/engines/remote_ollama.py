"""Ollama's own wire: conversations out, answers and lines in. Source: Ollama API reference, /api/chat."""

from collections.abc import Sequence

from insource.engines.remote_anthropic import address_of, function_of
from insource.engines.remote_openai import token
from insource.engines.remote_wire import Heard, Wire
from insource.errors import Invalid
from insource.nouns import JsonObject, Message, Request, to_json
from insource.nouns.request import text_of


def said(messages: Sequence[Message], request: Request) -> JsonObject:
    """The messages, and the caller's tools where no task is answered. It cannot be told which tool to take."""
    whole: JsonObject = {"messages": [_turn(message) for message in messages]}
    if request.task is None and request.tools and request.tool_choice != "none":
        whole["tools"] = request.tools
    return whole


def take(heard: Heard, data: JsonObject, part: str) -> str:
    """Adds an answer or one line of a stream; returns its text."""
    message = data["message"] if part == "message" else data.get("message") or {}
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise TypeError("content is no text")
    heard.say(content)
    for call in message.get("tool_calls") or []:
        function, position = call["function"], len(heard.calls)
        arguments = to_json(function.get("arguments") or {}).decode()
        heard.call(position, id=call.get("id") or f"call_{position}", name=function["name"], arguments=arguments)
    heard.tokens += [token(one) for one in data.get("logprobs") or []]
    if data["done"]:
        heard.ended = True
        heard.reason = data.get("done_reason")
        heard.spent(data.get("prompt_eval_count"), data.get("eval_count"))
    elif part == "message":
        raise ValueError("the answer is not done")
    return content


def _turn(message: Message) -> JsonObject:
    whole: JsonObject = {"role": "system" if message.role == "developer" else message.role}
    whole["content"] = text_of(message.content)
    parts = message.content if isinstance(message.content, list) else []
    images = [_image(part) for part in parts if part.get("type") == "image_url"]
    if images:
        whole["images"] = images
    if message.tool_calls:
        whole["tool_calls"] = [{"function": function_of(call)} for call in message.tool_calls]
    return whole


def _image(part: JsonObject) -> str:
    """The base64 of an image given as a data URL. Raises `Invalid` on another address: Ollama fetches nothing."""
    _, comma, data = address_of(part).partition(";base64,")
    if not comma:
        raise Invalid("Ollama takes images as data only", hint='"url": "data:image/png;base64,…"', at="messages")
    return data


OLLAMA = Wire(said, take, lines=True)
