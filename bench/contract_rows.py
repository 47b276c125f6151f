"""The README's rows of bench/contract.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
NAMES = {"banking77": "BANKING77", "clinc150": "CLINC150"}
PUBLISHED = "recall above 52.3% (BERT with a threshold, published, 96.2% right in scope)"


def contract(d: dict[str, Any]) -> Iterator[Row]:
    """The promise of a threshold, what it costs in coverage, and what it keeps back."""
    for name, found in d["sets"].items():
        for of in found["promises"]:
            said = f"{of['share']:.1%} ({of['low']:.1%} to {of['high']:.1%}, n {of['draws']:,}), mean coverage"
            said += f" {of['coverage']:.1%}; promised in {of['made']:,}; as often done: {of['naive']:.1%}"
            what = f"{NAMES[name]}, linear, 1,000 labels: an error of {of['risk']:.0%} promised and exceeded"
            yield what, "≤ 5%", said, of["low"] <= 0.05
    own = d["sets"]["banking77"]
    said = ", ".join(f"{share:.1%} at {float(risk):.0%}" for risk, share in own["coverage"].items())
    yield (
        "… BANKING77 rows answered at an error of 2%, the linear engine",
        "≥ 80%",
        said,
        own["coverage"]["0.02"] >= 0.8,
    )
    for name, found in d["sets"].items():
        cut = found["cut"]
        said = f"{cut['cut']:.1%} ({cut['low']:.1%} to {cut['high']:.1%} of {cut['wrong']} wrong ones) with"
        said += f" {cut['reviewed']:.1%} to people; 78% with {cut['reviewed_for_78']:.1%}"
        yield f"… {NAMES[name]}: wrong answers kept back at 85% confidence", "shown (the article: 78%)", said, True
    none, right = d["sets"]["clinc150"]["none"], d["sets"]["clinc150"]["accuracy"]
    low, high = none["interval"]
    below, above = none["false_interval"]
    said = f"{none['seen']:.1%} ({low:.1%} to {high:.1%}, n {none['n']:,}), false alarms {none['false_alarms']:.1%}"
    said += f" ({below:.1%} to {above:.1%}, 4% allowed) of {d['sets']['clinc150']['n']:,}; {right:.1%} right in scope;"
    alone = none["by_confidence"]
    said += f" by confidence alone {alone['seen']:.1%} at {alone['false_alarms']:.1%}"
    yield "CLINC150 questions for no label, told out of scope, linear", PUBLISHED, said, low > 0.523
