"""The chunk that nearly all of a stream consists of, read in one step: one choice, some text, and nothing else.

Whatever has another form, be it an end, a call of a tool, counts or a complaint, is left to the wire's own reader.
"""

import msgspec

from insource.engines.remote_wire import Heard


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Text; what servers write besides it is empty."""

    content: str
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None


class Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The first choice, going on."""

    delta: Delta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    stop_reason: None = None
    token_ids: None = None


class Chunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk of one choice. What is named here and means nothing to us is a plain value, in which nothing can hide."""

    choices: tuple[Choice]
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    usage: None = None


def quick(heard: Heard, data: bytes) -> str | None:
    """The text of such a chunk, which is added to what was heard; None for anything else, which changes nothing."""
    try:
        choice = msgspec.json.decode(data, type=Chunk).choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if choice.index:
        return None
    content = choice.delta.content
    heard.say(content)
    return content
