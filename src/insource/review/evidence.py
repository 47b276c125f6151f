"""What in a text speaks for an answer: where its values stand, word for word. Pure."""

from collections.abc import Iterator
from itertools import islice

from insource.nouns import JsonObject, JsonValue, Noun

SHORTEST = 2  # letters of a value that is looked for: a digit stands everywhere
MOST = 200  # values that are looked for: each is held against the places of all before it


class Piece(Noun, frozen=True, kw_only=True):
    """A piece of a text; `field` is the one whose value stands there, "" for none."""

    text: str
    field: str = ""


def marked(text: str, value: JsonObject | None) -> list[Piece]:
    """The text in pieces, the first place of each of `MOST` values marked; together they are the text."""
    places: list[tuple[int, int, str]] = []
    lower = text.lower()
    if len(lower) == len(text):  # else places in the one are no places in the other
        for field, said in islice(_leaves(value or {}, ""), MOST):
            at = lower.find(said.lower())
            while at >= 0 and (taken := _taken(places, at, at + len(said))):
                at = lower.find(said.lower(), taken)
            if at >= 0:
                places.append((at, at + len(said), field))
    pieces: list[Piece] = []
    here = 0
    for start, stop, field in sorted(places):
        pieces += [Piece(text=text[here:start]), Piece(text=text[start:stop], field=field)]
        here = stop
    return [piece for piece in (*pieces, Piece(text=text[here:])) if piece.text]


def _taken(places: list[tuple[int, int, str]], start: int, stop: int) -> int:
    """Where a place ends that lies across this one, 0 for none."""
    return next((end for begin, end, _ in places if start < end and begin < stop), 0)


def _leaves(value: JsonValue, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    elif value is not None and not isinstance(value, bool) and len(str(value).strip()) >= SHORTEST:
        yield name, str(value).strip()
