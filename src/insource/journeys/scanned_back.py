"""What was taken out of a question, put back into the answer to it; and places in the one, found in the other."""

import json
import re

import msgspec

from insource.nouns import JsonObject, JsonValue, Prediction
from insource.scan.originals import PLACEHOLDER, Originals

# the beginning of a placeholder at the end of a text: it may go on in the next piece
BEGUN = re.compile(r"\[(?:[a-z]{1,16}(?:_[a-z]{0,16})?(?: (?:[1-9][0-9]{0,6})?)?)?\Z")
Mark = tuple[int, int, int]


class Back:
    """Puts originals back into a text that comes in pieces; what may be the beginning of a placeholder waits."""

    def __init__(self, originals: Originals, *, as_json: bool = False) -> None:
        self._originals, self._json = originals, as_json
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can go on after this piece."""
        text = self._held + piece
        begun = BEGUN.search(text)
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return put_back(text[:cut], self._originals, as_json=self._json)

    def close(self, piece: str = "") -> str:
        """The rest, after a last piece."""
        text, self._held = self._held + piece, ""
        return put_back(text, self._originals, as_json=self._json)


def put_back(text: str, originals: Originals, *, as_json: bool = False) -> str:
    """A text with what its placeholders stand for, spelled as JSON spells it within a text where it is JSON."""
    if not as_json:
        return originals.restore(text)
    return PLACEHOLDER.sub(lambda found: json.dumps(originals.restore(found[0]), ensure_ascii=False)[1:-1], text)


def put_back_value(value: JsonValue, originals: Originals) -> JsonValue:
    """A JSON value with what its placeholders stand for, in every text and name of a key."""
    if isinstance(value, str):
        return originals.restore(value)
    if isinstance(value, list | tuple):
        return [put_back_value(each, originals) for each in value]
    if isinstance(value, dict):
        return {originals.restore(key): put_back_value(each, originals) for key, each in value.items()}
    return value


def put_back_call(call: JsonObject, originals: Originals) -> JsonObject:
    """A call of a function with what its placeholders stand for; its arguments are JSON."""
    made: JsonObject = put_back_value(call, originals)
    inner = call.get("function")
    if not isinstance(inner, dict) or not isinstance(inner.get("arguments"), str):
        return made
    arguments = put_back(inner["arguments"], originals, as_json=True)
    return {**made, "function": {**made["function"], "arguments": arguments}}


def shifted(said: Prediction, text: str, originals: Originals) -> Prediction:
    """The answer with its places in `text`, which an engine saw, as places in what the caller sent."""
    if not said.places or not len(originals):
        return said
    marks: list[Mark] = []
    for found in PLACEHOLDER.finditer(text):
        original = originals.restore(found[0])
        if original != found[0]:
            marks.append((found.start(), found.end(), len(original)))
    return msgspec.structs.replace(said, places=_moved(said.places, marks)) if marks else said


def _moved(places: JsonValue, marks: list[Mark]) -> JsonValue:
    if isinstance(places, dict):
        return {key: _moved(each, marks) for key, each in places.items()}
    if not isinstance(places, list | tuple):
        return places
    if len(places) == 2 and all(isinstance(each, int) for each in places):
        return [_offset(places[0], marks, end=False), _offset(places[1], marks, end=True)]
    return [_moved(each, marks) for each in places]


def _offset(place: int, marks: list[Mark], *, end: bool) -> int:
    """Where a place is in the original; within a placeholder, at the beginning or `end` of what it stands for."""
    moved = place
    for start, stop, length in marks:
        if stop <= place:
            moved += length - (stop - start)
        elif start < place:
            moved += (length if end else 0) - (place - start)
    return moved
