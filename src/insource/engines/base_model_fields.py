"""How sure a written answer is, field by field: which tokens spelled which value."""

import json
from collections.abc import Sequence
from itertools import accumulate
from math import exp

from insource.decode.bounds import TEXT
from insource.nouns import JsonObject, JsonValue


def field_confidence(text: str, value: JsonObject, pieces: Sequence[bytes], logs: Sequence[float]) -> dict[str, float]:
    """For each top-level field of the JSON `text` the product of the probabilities of the tokens in its value.

    `pieces` are the tokens' bytes, `logs` their log-probabilities. A field with a text that ran into our own length
    bound was cut, not finished: its confidence is 0.
    """
    spans = field_spans(text)
    ends = list(accumulate(len(piece) for piece in pieces))
    found = {}
    for name, (start, stop) in spans.items():
        touched = [
            log for piece, end, log in zip(pieces, ends, logs, strict=True) if end > start and end - len(piece) < stop
        ]
        found[name] = 0.0 if was_cut(value.get(name)) else exp(sum(touched))
    return found


def field_spans(text: str) -> dict[str, tuple[int, int]]:
    """For each key of the JSON object `text` the bytes [start, stop) of its value; empty for anything else."""
    decoder = json.JSONDecoder()
    spans: dict[str, tuple[int, int]] = {}
    at = _skip(text, 0)
    if at >= len(text) or text[at] != "{":
        return spans
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        spans[key] = (len(text[:start].encode()), len(text[:at].encode()))
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return spans


def was_cut(value: JsonValue) -> bool:
    """Whether some text in `value` is exactly as long as the bound the grammar sets where the schema sets none."""
    if isinstance(value, dict):
        return any(was_cut(each) for each in value.values())
    if isinstance(value, list):
        return any(was_cut(each) for each in value)
    return isinstance(value, str) and len(value) == TEXT


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at
