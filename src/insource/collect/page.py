"""The check as one page: HTML that needs nothing but itself. Geometry is worked out here, drawn by the template."""

import re
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from insource.collect.check import ENOUGH, GOOD, clean
from insource.collect.facts import PARTS, Balance, Bar, Lengths, balances, lengths
from insource.collect.findings import Finding, Rows, verdict
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, visible

TEMPLATE = "check.html"
FEW_LABELS = 30
ENDS = 8
MOST_LISTED = 2_000
LONGEST_WORD = 28
LONG_TEXT = 40
TITLES = {
    "rejected": "Rows set aside",
    "few-rows": "Number of rows",
    "splits": "A split is empty",
    "leaks": "Leaks between splits",
    "label-errors": "Labels that look wrong",
    "label-variants": "One label, several spellings",
    "rare-labels": "Labels with few rows",
    "unseen-labels": "Labels without train rows",
    "long": "Long inputs",
    "wordless": "Inputs without a word",
    "not-checked": "Not checked",
    "prompts": "Calls of other tasks",
    "own-word": "A test in the model's own words",
    "personal": "Personal data replaced",
    "removed-other-task": "Taken out: reads like another task",
    "removed-drift": "Taken out: an older form of the target",
    "removed-contradictions": "Taken out: contradictions",
    "removed-near-duplicates": "Taken out: copies",
    "removed-leaks": "Taken out: leaks into train",
    "removed-label-errors": "Taken out: labels that look wrong",
}
LISTED = ("rejected", "label-errors", "rare-labels", "unseen-labels", "long", "wordless", "prompts")
NAMES = {"serious": "Serious", "care": "Wants care", "note": "Note"}


class Sheet(Noun, frozen=True, kw_only=True):
    """Everything a page tells. `rejects` is the path of the rejects file below the workspace, or ""."""

    task: Task
    dataset: Dataset
    rows: tuple[Example, ...]
    tally: Rows
    findings: tuple[Finding, ...]
    rejects: str = ""


def page(sheet: Sheet) -> str:
    """The page. All text from the data is escaped; nothing is fetched when it is opened."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("insource.collect"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["options"] = _options
    environment.filters["width"] = _width
    return visible(environment.get_template(TEMPLATE).render(**_told(sheet)))


def _options(text: str) -> Markup:
    """The text, escaped, with its command line options set as code."""
    return Markup("").join(  # the pieces are escaped by join
        Markup("<code>{}</code>").format(piece) if piece.startswith("--") else piece
        for piece in re.split(r"(--[a-z-]+)", text)
    )


def _width(value: object) -> str:
    """How a cell is set: a short word is not broken, a long text gets room."""
    text = str(value)
    if len(text) <= LONGEST_WORD and " " not in text:
        return "word"
    return "wide" if len(text) > LONG_TEXT else "plain"


def _told(sheet: Sheet) -> JsonObject:
    total = len(sheet.rows)
    return {
        "sheet": sheet,
        "total": total,
        "verdict": verdict(sheet.findings),
        "sentence": _sentence(sheet.findings),
        "names": NAMES,
        "titles": TITLES,
        "listed": [*LISTED, *(kind for kind in TITLES if kind.startswith("removed-"))],
        "clean": clean(sheet.task, sheet.findings),
        "splits": _splits(sheet.dataset.counts),
        "meter": _meter(total),
        "balances": [_picture(balance) for balance in balances(sheet.task, sheet.rows)],
        "lengths": _histogram(lengths(sheet.rows)),
    }


def _sentence(findings: Sequence[Finding]) -> str:
    """What the verdict rests on, in one sentence."""
    serious = sum(finding.severity == "serious" for finding in findings)
    care = sum(finding.severity == "care" for finding in findings)
    if serious:
        rest = f", and {_things(care)} that want{'s' * (care == 1)} care" if care else ""
        return f"{_things(serious).capitalize()} must be put right before a model is worth training{rest}."
    if care:
        return f"You can train on this now. {_things(care).capitalize()} deserve{'s' * (care == 1)} a look first."
    return "Nothing stands in the way of training on this."


def _things(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return f"{words[count] if count < len(words) else count} thing{'' if count == 1 else 's'}"


def _splits(counts: dict[str, int]) -> list[JsonObject]:
    total, at = max(1, sum(counts.values())), 0.0
    found = []
    for split, rows in counts.items():
        width = 100 * rows / total
        part = PARTS.index(split) if split in PARTS[:3] else 3
        found.append({"split": split, "rows": rows, "x": round(at, 3), "width": round(width, 3), "part": part})
        at += width
    return found


def _meter(total: int) -> JsonObject:
    """Where the count stands on a scale of three equal thirds: up to 500, up to 5,000, beyond."""
    if total < ENOUGH:
        at = total / ENOUGH / 3
    elif total < GOOD:
        at = (1 + (total - ENOUGH) / (GOOD - ENOUGH)) / 3
    else:
        at = min(1.0, (2 + (total - GOOD) / (3 * GOOD)) / 3)
    return {"at": round(100 * at, 2), "enough": ENOUGH, "good": GOOD}


def _picture(balance: Balance) -> JsonObject:
    """The bars of one output: all of them when they are few, else a skyline, both ends, and the list."""
    most = max(1, *(bar.total for bar in balance.bars)) if balance.bars else 1
    bars = [_bar(bar, most) for bar in balance.bars]
    few = len(bars) <= FEW_LABELS
    return {
        "field": balance.field,
        "of_fields": balance.of_fields,
        "count": len(bars),
        "most": most,
        "bars": bars if few else bars[:ENDS],
        "tail": [] if few else bars[-ENDS:],
        "all": [] if few else bars[:MOST_LISTED],
        "hidden": max(0, len(bars) - MOST_LISTED) if not few else 0,
        "skyline": [] if few else _skyline(balance.bars, most),
        "medium": sorted(bar.total for bar in balance.bars)[len(bars) // 2] if bars else 0,
    }


def _bar(bar: Bar, most: int) -> JsonObject:
    at, parts = 0.0, []
    for part, rows in enumerate(bar.parts):
        width = 100 * rows / most
        if rows:
            parts.append({"part": part, "x": round(at, 3), "width": round(width, 3)})
        at += width
    return {
        "label": bar.label[:160],
        "total": bar.total,
        "parts": parts,
        "few": bar.parts[0] < 5,
        "train": bar.parts[0],
    }


def _skyline(bars: Sequence[Bar], most: int) -> str:
    """An SVG path of the labels' counts, the commonest first, in a box of 1000 by 100."""
    step = 1000 / len(bars)
    points = "".join(f"V{100 - 100 * bar.total / most:.2f}H{(i + 1) * step:.2f}" for i, bar in enumerate(bars))
    return f"M0 100{points}V100Z"


def _histogram(lengths: Lengths) -> JsonObject:
    """Bars in a box of 1000 by 200, with the places of the median and of the 95th percentile."""
    most = max(1, *(one.rows for one in lengths.bins))
    step = 1000 / len(lengths.bins)
    bars = [
        {
            "x": round(i * step + 1.5, 2),
            "width": round(step - 3, 2),
            "height": round(200 * one.rows / most, 2),
            "low": one.low,
            "high": one.high - 1,
            "rows": one.rows,
        }
        for i, one in enumerate(lengths.bins)
    ]
    ticks = [{"x": round(i * 100 / len(bars), 2), "label": bars[i]["low"]} for i in _ticks(len(bars))]
    places = {name: _place(lengths, value) for name, value in (("median", lengths.median), ("p95", lengths.p95))}
    return {"facts": lengths, "bars": bars, "ticks": ticks, **places}


def _ticks(count: int) -> list[int]:
    """Up to five bins that get a number below."""
    stride = max(1, -(-count // 5))
    return list(range(0, count, stride))


def _place(lengths: Lengths, value: int) -> float:
    """Where `value` lies along the bins, 0 to 1000."""
    for i, one in enumerate(lengths.bins):
        if value < one.high:
            inside = (value - one.low + 0.5) / max(1, one.high - one.low)
            return round(1000 * (i + min(1.0, max(0.0, inside))) / len(lengths.bins), 2)
    return 1000.0
