"""Text of strangers, safe to show: what would steer a terminal is spelled out instead."""

import re

# C0 but tab and line feed, DEL, C1, and what turns the direction of writing (Unicode UAX #9)
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# an absolute path of this machine, but not one of our own routes
# or a place in the caller's own schema
FOLDERS = re.compile(r"(#/\S*)|(?<![\w.:/])/(?!v1/)(?:[^\s/:'\"]+/)+")


def visible(text: str) -> str:
    """The text with control characters as escapes: an ESC becomes a backslash and x1b."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def without_folders(text: str) -> str:
    """The text with the files of this machine by name only: where they lie is no caller's business."""
    return FOLDERS.sub(r"\1", text)
