"""Text of strangers, safe to show: what would steer a terminal is spelled out instead."""

import re

# C0 but tab and line feed, DEL, C1, and what turns the direction of writing (Unicode UAX #9)
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with control characters as escapes: an ESC becomes a backslash and x1b."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
