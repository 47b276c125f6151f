"""The answers to the windows of one text, made one answer. Pure; docs/reference/extraction.md states the rules.

classify   the windows vote: the mean of their log-probabilities, weighted by their tokens
extract    a single value: the surest window's, of equally sure ones the first in the text
           a list: the items of all windows, each once; items that overlap in the text are joined to one
"""

from collections.abc import Hashable, Sequence
from math import exp, log
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from insource.decode.check import faults, render, schema_of
from insource.decode.places import Part, Place, places
from insource.engines.windows import Window
from insource.nouns import JsonObject, JsonValue, Output, Prediction, Task, Usage, likeness, normal

LEAST, UNNAMED = 1e-300, 1e-9  # of a probability given, and of one that a rounded sum leaves
UNSAID = 0.9
SHOWN = 5
Parts = Sequence[tuple[Window, Prediction]]


def merged(task: Task, text: str, windows: Sequence[Window], said: Sequence[Prediction]) -> Prediction:
    """One answer for the whole text. `said[i]` answers `windows[i]`; the only window's answer stays as it is.

    Where a window has no valid answer, the text has none: what stood there is not known.
    """
    parts = list(zip(windows, said, strict=True))
    bad = next((one for one in said if one.finish != "stop" or one.value is None), None)
    if bad is not None:
        return msgspec.structs.replace(bad, text="" if len(parts) > 1 else bad.text, value=None, usage=_usage(said))
    if task.kind == "classify":
        return said[0] if len(parts) == 1 else _voted(task, parts)
    if len(parts) == 1:
        return msgspec.structs.replace(said[0], places=places(text, said[0].value or {}))
    return _extracted(task, text, parts)


def _usage(said: Sequence[Prediction]) -> Usage:
    return Usage(
        input_tokens=sum(one.usage.input_tokens for one in said),
        output_tokens=sum(one.usage.output_tokens for one in said),
        cut=sum(one.usage.cut for one in said),
    )


# ------------------------------------------------------------------ votes


def _voted(task: Task, parts: Parts) -> Prediction:
    value: JsonObject = {}
    fields, alternatives = {}, {}
    known = all(one.confidence is not None for _, one in parts)
    confidence = 1.0
    for output in task.outputs:
        ranked = _vote(output, parts)
        value[output.name] = ranked[0][0]
        confidence *= ranked[0][1]
        if known:
            fields[output.name], alternatives[output.name] = ranked[0][1], ranked[:SHOWN]
    first = parts[0][1]
    return Prediction(
        text=render(task, value),
        value=value,
        engine=first.engine,
        confidence=min(confidence, 1.0) if known else None,
        fields=fields,
        alternatives=alternatives,
        usage=_usage([one for _, one in parts]),
        novelty=_novelty(parts),
    )


def _novelty(parts: Parts) -> float | UnsetType:
    """The windows' mean, weighted by their tokens; unknown where one does not say."""
    total = sum(max(window.tokens, 1) for window, _ in parts)
    said = [(one.novelty, max(window.tokens, 1)) for window, one in parts]
    known = [strange * tokens / total for strange, tokens in said if not isinstance(strange, UnsetType)]
    return sum(known) if len(known) == len(said) else UNSET


def _vote(output: Output, parts: Parts) -> tuple[tuple[str, float], ...]:
    """The labels with their probabilities, the likeliest first."""
    total = sum(max(window.tokens, 1) for window, _ in parts)
    logs = dict.fromkeys(output.labels, 0.0)
    for window, one in parts:
        share = max(window.tokens, 1) / total
        chances, rest = _chances(output, one)
        for label in logs:
            logs[label] += share * log(max(chances.get(label, rest), LEAST))
    top = max(logs.values())
    weights = {label: exp(each - top) for label, each in logs.items()}
    whole = sum(weights.values())
    ranked = sorted(weights, key=lambda label: -weights[label])
    return tuple((label, weights[label] / whole) for label in ranked)


def _chances(output: Output, one: Prediction) -> tuple[dict[str, float], float]:
    """The probabilities a window gave, and what each label it did not name has: an even share of the rest.

    Where it gave none, its label has a fixed one: then the label with the most tokens behind it wins.
    """
    label = str((one.value or {}).get(output.name))
    chances = dict(one.alternatives.get(output.name, ())) or {label: one.fields.get(output.name, UNSAID)}
    left = len(output.labels) - len(chances)
    return chances, max(UNNAMED, (1.0 - sum(chances.values())) / left) if left else 0.0


# ------------------------------------------------------------------ fields


class _Found(msgspec.Struct):
    """A value that a window gave, where it stands, and how sure the window was of its field (-1 if it did not say)."""

    value: JsonValue
    at: Place | None
    window: int
    sure: float
    grown: bool = False  # `at` reaches beyond `value`


def _extracted(task: Task, text: str, parts: Parts) -> Prediction:
    joined, stand, fields = _fields(task, text, parts, join=True)
    if faults(schema_of(task), joined):
        joined, stand, fields = _fields(task, text, parts, join=False)
    first = parts[0][1]
    valid = not faults(schema_of(task), joined)
    said = [one for _, one in parts]
    return Prediction(
        text=render(task, joined),
        value=joined if valid else None,
        engine=first.engine,
        confidence=_whole(said, fields),
        fields=fields,
        places=stand,
        usage=_usage(said),
        finish="stop" if valid else "invalid",
    )


def _whole(said: Sequence[Prediction], fields: dict[str, float]) -> float | None:
    """The product over the fields; the least of the windows' own where no field has one."""
    known = [one.confidence for one in said if one.confidence is not None]
    if len(known) < len(said):
        return None
    product = 1.0
    for sure in fields.values():
        product *= sure
    return product if fields else min(known)


def _fields(task: Task, text: str, parts: Parts, *, join: bool) -> tuple[JsonObject, JsonObject, dict[str, float]]:
    value: JsonObject = {}
    stand: JsonObject = {}
    fields: dict[str, float] = {}
    known = schema_of(task).get("properties", {})
    order = {name: i for i, name in enumerate(task.fields)}
    naming: dict[str, list[tuple[Window, Prediction]]] = {}
    for window, one in parts:
        for name in one.value or {}:
            naming.setdefault(name, []).append((window, one))
    for name in sorted(naming, key=lambda name: order.get(name, len(order))):
        said = [one for _, one in naming[name]]
        found = _found(name, text, naming[name])
        if not found:
            value[name] = (said[0].value or {})[name]
            stand[name] = [] if isinstance(value[name], list) else None
            sure = min((one.fields[name] for one in said if name in one.fields), default=None)
        elif any(isinstance((one.value or {})[name], list) for one in said):
            form = known.get(name)
            most = form.get("maxItems") if isinstance(form, dict) else None
            items = _union(text, found, join=join, most=most if isinstance(most, int) else None)
            value[name] = [item.value for item in items]
            stand[name] = [item.at and list(item.at) for item in items]
            sure = min((item.sure for item in found if item.sure >= 0), default=None)
        else:
            best = max(found, key=lambda one: (one.sure, -one.window))
            value[name], stand[name] = best.value, best.at and list(best.at)
            sure = best.sure if best.sure >= 0 else None
        if sure is not None:
            fields[name] = sure
    return value, stand, fields


def _found(name: str, text: str, parts: Parts) -> list[_Found]:
    """What the windows gave for a field, the items of lists one by one; nothing, "", [] and {} are left out."""
    found = []
    for number, (window, one) in enumerate(parts):
        given: Any = (one.value or {}).get(name)
        part = Part(text, window.start, window.stop)
        for item in given if isinstance(given, list) else [given]:
            if normal(item) is not None:
                at = part.place(item)
                found.append(_Found(item, at, number, one.fields.get(name, -1.0)))
    return found


def _union(text: str, found: Sequence[_Found], *, join: bool, most: int | None) -> list[_Found]:
    """Each item once, in the order of the text; what stands nowhere comes last. Of more than `most` the surest stay."""
    end = len(text)
    order = sorted(found, key=lambda item: (item.at or (end, end), item.window))
    kept: list[_Found] = []
    seen: set[Hashable] = set()
    for item in order:
        last = kept[-1] if kept else None
        if last and last.at and item.at and item.at[0] < last.at[1]:
            _overlapping(last, item, join=join)
        elif (key := likeness(item.value)) not in seen:
            seen.add(key)
            kept.append(msgspec.structs.replace(item))
    for item in kept:
        if item.at and item.grown:
            item.value = text[slice(*item.at)]
    if most is None or len(kept) <= most:
        return kept
    chosen = sorted(range(len(kept)), key=lambda i: -kept[i].sure)[:most]
    return [kept[i] for i in sorted(chosen)]


def _overlapping(last: _Found, item: _Found, *, join: bool) -> None:
    """Makes `last` the two of them: the text from the first to the end of both, or the surer one."""
    if last.at is None or item.at is None:
        return
    if join:
        start, stop = last.at[0], max(last.at[1], item.at[1])
        last.grown = last.grown or (start, stop) != last.at
        last.at, last.sure = (start, stop), max(last.sure, item.sure)
    elif item.sure > last.sure:
        last.value, last.at, last.sure = item.value, item.at, item.sure
