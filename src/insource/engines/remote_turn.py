"""A message as OpenAI's wire has it."""

from typing import Any

import msgspec

from insource.nouns import JsonObject


class Turn(msgspec.Struct, omit_defaults=True, gc=False):
    """A message, in JSON without what it does not have."""

    role: str
    content: Any
    name: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None
