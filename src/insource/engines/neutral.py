"""Turns of a conversation as a server may get them that reads control tokens wherever they stand.

Models in this process need none of it: their contents are encoded apart (`base_model_chat`).
"""

from collections.abc import Sequence

import msgspec

from insource.nouns import JsonValue, Message
from insource.scan.control import neutral
from insource.scan.find import Shapes

STRANGERS = ("user", "tool")


def neutral_turns(turns: Sequence[Message], control: Shapes) -> tuple[Message, ...]:
    """The turns, with control tokens spelled otherwise in what users and functions said."""
    return tuple(
        msgspec.structs.replace(turn, content=_plain(turn.content, control)) if turn.role in STRANGERS else turn
        for turn in turns
    )


def _plain(content: JsonValue, control: Shapes) -> JsonValue:
    if isinstance(content, str):
        return neutral(content, control)
    if isinstance(content, list):
        return [_plain_part(part, control) for part in content]
    return content


def _plain_part(part: JsonValue, control: Shapes) -> JsonValue:
    text = part.get("text") if isinstance(part, dict) else None
    return {**part, "text": neutral(text, control)} if isinstance(text, str) else part
