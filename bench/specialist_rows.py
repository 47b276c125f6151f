"""The README's rows of bench/contract_specialist.py."""

from collections.abc import Iterator
from typing import Any

from contract_rows import NAMES

Row = tuple[str, str, str, bool]
CONFIDENCE = "confidence"


def _said(found: dict[str, Any]) -> str:
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%}, n {found['n']:,})"


def contract(d: dict[str, Any]) -> Iterator[Row]:
    """The promise of the specialists' confidence, what it costs in coverage, and what it keeps back."""
    for name, found in d["sets"].items():
        for one in found["promises"]:
            said = f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%}, n {one['draws']:,}), mean coverage"
            said += f" {one['coverage']:.1%}; promised in {one['made']:,}; as often done: {one['naive']:.1%}"
            what = (
                f"{NAMES[name]}, specialist, {d['rows']:,} labels: an error of {one['risk']:.0%} promised and exceeded"
            )
            yield what, "≤ 5%", said, one["low"] <= 0.05
    own = d["sets"]["banking77"]
    at, beside = own["coverage"]["0.02"], own["beside"]
    said = f"{at['value']:.1%} ({at['low']:.1%} to {at['high']:.1%}, n {own['n']:,}); the linear engine"
    said += f" {beside['linear']:.1%}: {beside['difference'] * 100:+.1f} points"
    said += f" ({beside['low'] * 100:+.1f} to {beside['high'] * 100:+.1f})"
    yield "… BANKING77 rows answered at an error of 2%, the specialist", "≥ 80%", said, at["value"] >= 0.8
    for name, found in d["sets"].items():
        yield _released(name, found["released"])
    for name, found in d["sets"].items():
        cut = found["cut"]
        said = f"{cut['cut']:.1%} ({cut['low']:.1%} to {cut['high']:.1%} of {cut['wrong']} wrong ones) with"
        said += f" {cut['reviewed']:.1%} to people; 78% with {cut['reviewed_for_78']:.1%}"
        what = f"… {NAMES[name]}, specialist: wrong answers kept back at 85% confidence"
        yield what, "shown (the article: 78%)", said, True
    clinc = d["sets"]["clinc150"]
    made = f"{d['measured_on'].partition(',')[0]}, {clinc['minutes']:.0f} min beside two other runs"
    yield "CLINC150 accuracy, specialist, 150 labels", "shown", f"{_said(clinc['accuracy'])}; trained on {made}", True
    yield from _strange(d["none"])


def _released(name: str, found: dict[str, Any]) -> Row:
    what = (
        f"… {NAMES[name]}: the threshold it is released with, of {found['labels']:,} held-out labels, on the test rows"
    )
    if found["threshold"] is None:
        return what, "≤ 2% wrong", "none can be promised", False
    said = f"{_said(found['wrong'])} wrong among the {found['covered']['value']:.1%} answered"
    return what, "≤ 2% wrong", said, bool(found["wrong"]["value"] <= 0.02)


def _strange(d: dict[str, Any]) -> Iterator[Row]:
    """By confidence, by the score that the validation questions chose, and as served."""
    demanded = d["published"]
    bar = f"recall above {demanded['recall']:.1%} at {demanded['in_scope']:.1%} right in scope (BERT with a threshold,"
    bar += " published)"
    for score in dict.fromkeys((CONFIDENCE, d["chosen"])):
        found = d["scores"][score]
        by = "confidence" if score == CONFIDENCE else f"the {score} of its logits"
        said = f"{_said(found['seen'])} at {found['in_scope']['value']:.1%} ({found['in_scope']['low']:.1%} to"
        said += f" {found['in_scope']['high']:.1%}) right in scope, false alarms {found['alarms']['value']:.1%}"
        said += f" ({found['alarms']['low']:.1%} to {found['alarms']['high']:.1%}, n {found['alarms']['n']:,})"
        holds = found["seen"]["low"] > demanded["recall"] and found["in_scope"]["high"] >= demanded["in_scope"]
        yield f"CLINC150 questions for no label, specialist, kept back by {by}", bar, said, holds
    found = d["released"]
    said = f"{_said(found['seen'])}, false alarms {_said(found['alarms'])}; {found['in_scope']['value']:.1%}"
    said += " answered and right in scope"
    what = f"… told as served, [risk] out_of_scope = {found['allowed']:g}, {found['held_out']:,} rows held out"
    yield what, f"recall above {demanded['recall']:.1%}", said, found["seen"]["low"] > demanded["recall"]
