"""A call, as every engine receives it."""

from typing import Literal

from insource.nouns.base import JsonObject, JsonValue, Noun
from insource.nouns.task import Task


class Message(Noun, frozen=True, kw_only=True):
    """One turn of a conversation. `content` is text, a list of OpenAI content parts, or None beside tool calls."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: JsonValue = None
    name: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None


class Request(Noun, frozen=True, kw_only=True):
    """A call. With a `task`, the last user message is the input and instruction and output are the task's.

    `deadline` is seconds from now; `tenant` is who pays, `caller` the name of the key; `model` is the engine's own
    model when no task is named. `trace` is the W3C traceparent of the call, which a server that is asked gets too.
    """

    id: str
    task: Task | None = None
    model: str = ""
    messages: tuple[Message, ...] = ()
    tools: list[JsonObject] | None = None
    tool_choice: JsonValue = None
    response_format: JsonObject | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    temperature: float = 0.0
    seed: int | None = None
    logprobs: bool = False
    deadline: float = 60.0
    tenant: str = "local"
    caller: str = ""
    trace: str = ""

    @property
    def input(self) -> str:
        """The text of the last user message; empty if there is none."""
        for message in reversed(self.messages):
            if message.role == "user":
                return text_of(message.content)
        return ""


def text_of(content: JsonValue) -> str:
    """Plain text of a message's content: itself, or the text parts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def ask(task: Task, text: str, *, id: str, tenant: str = "local") -> Request:
    """The request that puts one input to a task."""
    return Request(id=id, task=task, messages=(Message(role="user", content=text),), tenant=tenant)
