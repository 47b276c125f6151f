"""How sure a server is of the labels it wrote, from the log probabilities of its tokens. Pure.

Without a list of other tokens the figure is the probability the server gave to these very words, exp of their summed
log probabilities. With such a list (`top_logprobs`) each token is weighed against those that would have led to
another label of the set: P(label) is the product over its tokens of p(token) / p(allowed tokens there), as sampling
under a mask renormalises. It is exact where the list shows every continuation, as it does when the server gives its
probabilities after the mask. Each label that nothing in the list leads to counts as one more token as likely as the
last of the list, or as the chosen one if that was less: the figure is then rather too low than too high.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import msgspec

from insource.nouns import JsonObject, Output, Task

SHOWN = 10
TEXT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
END = b'"'


@dataclass(frozen=True)
class Token:
    """A token as the server wrote it: its bytes, its log probability, and the likeliest tokens in its place."""

    raw: bytes
    logprob: float
    others: tuple[tuple[bytes, float], ...] = ()


class Sure(msgspec.Struct, frozen=True):
    """The confidence of the whole answer and of each field, and the likeliest labels of each output."""

    whole: float | None = None
    fields: dict[str, float] = {}
    alternatives: dict[str, tuple[tuple[str, float], ...]] = {}


@dataclass(frozen=True)
class _Span:
    """Where the label of one output stands in the text, and how each label would stand there, sorted."""

    output: Output
    start: int
    end: int
    written: tuple[bytes, ...]
    labels: Mapping[bytes, str]


def sureness(task: Task | None, value: JsonObject | None, text: str, tokens: Sequence[Token]) -> Sure:
    """How sure the server is of `value`, which it wrote as `text` in `tokens`; nothing where it gave no tokens."""
    if not tokens:
        return Sure()
    words = min(1.0, math.exp(min(sum(token.logprob for token in tokens), 0.0)))
    if task is None or value is None:
        return Sure(words)
    one = {task.fields[0]: words} if len(task.fields) == 1 else {}
    spans = _spans(task, value, text.encode()) if task.kind == "classify" else []
    whole = b"".join(token.raw for token in tokens)
    if not spans or not whole.startswith(text.encode()) or not any(token.others for token in tokens):
        return Sure(words, one)
    masses = {span.output.name: _masses(span, tokens, whole) for span in spans}
    fields = {name: min(1.0, mass.get(str(value[name]), 0.0)) for name, mass in masses.items()}
    ranked = {name: tuple(sorted(mass.items(), key=lambda pair: -pair[1])[:SHOWN]) for name, mass in masses.items()}
    return Sure(math.prod(fields.values()), fields, ranked)


def _masses(span: _Span, tokens: Sequence[Token], whole: bytes) -> dict[str, float]:
    """The probability of each label that can be told, the written one among them."""
    mass: dict[str, float] = {}
    path = 1.0  # the probability of what was written so far
    for at, token in _within(span, tokens):
        before = whole[span.start : max(at, span.start)]
        head = whole[at : span.start]  # a token may begin before its label does
        written = before + token.raw[len(head) :]
        rivals = _rivals(span, before, head, token)
        allowed = math.exp(token.logprob) + sum(rivals.values())
        total = allowed + _unseen(span, before, written, rivals, token) if token.others else 1.0
        share = path / max(total, 1e-300)
        for rival, chance in rivals.items():
            label = _only(span, rival)
            if label is not None:
                mass[label] = mass.get(label, 0.0) + share * chance
        path = min(1.0, share * math.exp(token.logprob))
    told = span.labels[whole[span.start : span.end]]
    mass[told] = mass.get(told, 0.0) + path
    return {label: min(1.0, chance) for label, chance in mass.items()}


def _within(span: _Span, tokens: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """The tokens that overlap the label, each with where it begins in the text."""
    at = 0
    for token in tokens:
        if at < span.end and at + len(token.raw) > span.start:
            yield at, token
        at += len(token.raw)


def _rivals(span: _Span, before: bytes, head: bytes, token: Token) -> dict[bytes, float]:
    """The other tokens that lead to a label: what the label would then begin with, and their probability."""
    found: dict[bytes, float] = {}
    for raw, logprob in token.others:
        if raw == token.raw or not raw or not raw.startswith(head):
            continue
        reached = before + raw[len(head) :]
        if _leads(span, reached):
            found[reached] = found.get(reached, 0.0) + math.exp(min(logprob, 0.0))
    return found


def _unseen(span: _Span, before: bytes, written: bytes, rivals: Mapping[bytes, float], token: Token) -> float:
    """What tokens beyond the list may have said for labels that nothing in the list leads to."""
    low, high = _range(span.written, before)
    covered: set[int] = set()
    for reached in (*rivals, written):
        first, last = _range(span.written, reached)
        covered.update(range(first, last) if last > first else [_ending(span, reached)])
    missing = (high - low) - len(covered)
    if missing <= 0:
        return 0.0
    shown = [logprob for raw, logprob in token.others if raw != token.raw]
    rest = 1.0 - math.exp(min(token.logprob, 0.0)) - sum(math.exp(min(logprob, 0.0)) for logprob in shown)
    least = math.exp(min([*shown, token.logprob]))
    return max(0.0, min(rest, missing * least))


def _leads(span: _Span, reached: bytes) -> bool:
    low, high = _range(span.written, reached)
    return high > low or _ending(span, reached) >= 0


def _only(span: _Span, reached: bytes) -> str | None:
    """The label that `reached` can only become; None while there are several."""
    low, high = _range(span.written, reached)
    if high - low == 1:
        return span.labels[span.written[low]]
    ending = _ending(span, reached) if high == low else -1
    return span.labels[span.written[ending]] if ending >= 0 else None


def _range(written: Sequence[bytes], reached: bytes) -> tuple[int, int]:
    """The labels that begin with `reached`, as a range of `written`."""
    low = bisect_left(written, reached)
    high = bisect_left(written, reached + b"\xff")
    return low, high


def _ending(span: _Span, reached: bytes) -> int:
    """The label that `reached` spells whole and goes beyond, as the token that ends it may; -1 when there is none."""
    at = bisect_left(span.written, reached) - 1
    return at if at >= 0 and span.written[at].endswith(END) and reached.startswith(span.written[at]) else -1


def _spans(task: Task, value: JsonObject, text: bytes) -> list[_Span]:
    """Where the labels stand; empty where the text spells them in another way than we would."""
    first = task.outputs[0]
    if not text.lstrip().startswith(b"{"):
        start, label = len(text) - len(text.lstrip()), str(value[first.name]).encode()
        bare = _written(first, quoted=False)
        return [_Span(first, start, start + len(label), *bare)] if _apart(bare[0]) else []
    pairs = list(TEXT.finditer(text))
    found = []
    for key, said in zip(pairs[::2], pairs[1::2], strict=False):
        output = next((output for output in task.outputs if output.name.encode() == key[1]), None)
        if output is None:
            return []
        written, labels = _written(output, quoted=True)
        if labels.get(said[1] + END) != value[output.name]:
            return []
        found.append(_Span(output, said.start(1), said.end(), written, labels))
    return found if len(found) == len(task.outputs) else []


def _apart(written: Sequence[bytes]) -> bool:
    return not any(other.startswith(one) for one, other in pairwise(written))


@lru_cache(maxsize=64)
def _written(output: Output, *, quoted: bool) -> tuple[tuple[bytes, ...], Mapping[bytes, str]]:
    """How each label is written, sorted, and the label behind each writing; `quoted` as the inside of a JSON text."""
    labels = {(msgspec.json.encode(label)[1:] if quoted else label.encode()): label for label in output.labels}
    return tuple(sorted(labels)), labels
