"""The body of a chat call, as clients send it. What is not listed here is ignored, and never passed on."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.nouns import JsonObject, JsonValue

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
MOST_MESSAGES, MOST_TOOLS = 10_000, 1_024


class WireMessage(msgspec.Struct, kw_only=True):
    """One message as a client sends it."""

    role: Role
    content: str | list[JsonObject] | None = None
    name: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """What a streaming client asks for besides the words."""

    include_usage: bool | None = None


class ChatCall(msgspec.Struct, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[WireMessage], Meta(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: JsonObject | None = None
    tools: Annotated[list[JsonObject], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: JsonValue = None

    @property
    def usage_chunk(self) -> bool:
        """True when the stream should end with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)
