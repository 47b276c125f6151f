"""The README's rows of migrations and of the verdict: bench/migrate.py and bench/verdict.py."""

from collections.abc import Iterator
from math import floor, log10
from typing import Any

Row = tuple[str, str, str, bool]
WORDS = {"go": "go", "not yet": "not yet", "stay": "stay", "cheaper": "use a cheaper API"}
NAMES = {"intent": "BANKING77", "work_orders": "excavator work orders", "receipts": "SROIE receipts",
         "headlines": "commodity headlines"}  # fmt: skip
GPT_4O = "gpt-4o-2024-05-13"


def verdict(d: dict[str, Any]) -> Iterator[Row]:
    """Where the verdict turns beside arithmetic, who is never a go, and two realistic cases."""
    low, high = d["volumes"]
    found = f"{d['worst']:.2%} off at most, {d['cases']} cases, from {low:,.0f} to {high:,.0f} calls a day"
    what = "verdict, scripted frontier of known accuracy and price: turns from stay to go at the break-even"
    yield what, "≤ 1%, ≥ 200 cases", found, d["worst"] <= 0.01 and d["cases"] >= 200
    found = f"{d['not_shown_go']} of {d['not_shown']} were a go at {3e7:,.0f} calls a day"
    yield "… own ways whose interval does not show them as good", "0", found, not d["not_shown_go"]
    found = f"{d['inferior_go']} of {d['inferior']} (below {d['inferior_upper95']:.1%})"
    what = f"… own ways that are worse by exactly the margin of {d['margin'] * 100:g} points, {d['rows']} rows: a go"
    yield what, "2.5%, within its interval", found, d["inferior_low95"] <= 0.025
    meant = ("stay", "cheaper", "go")
    for one, word in zip(d["realistic"], meant, strict=True):
        yield f"… {one['what']}", WORDS[word], one["sentence"].rstrip("."), one["word"] == word


def migrate(d: dict[str, Any]) -> Iterator[Row]:
    """A verdict a set, told again and killed; headlines beside what was published of others."""
    for name, one in d["sets"].items():
        found, again = one["assessed"], one["replay"]
        said = f"{WORDS[found['verdict']['word']]}: {_quality(found)}; {again['figures']:,} figures told again"
        said += (
            f", {len(again['differs'])} otherwise; killed {one['kills']} times, {one['changed']} pieces lost or changed"
        )
        holds = again["same"] and not one["changed"] and bool(one["kills"])
        yield f"migrate, {NAMES[name]}, no key", "a replayable verdict, any kill resumes", said, holds
    if "headlines" in d["sets"]:
        yield _headlines(d["sets"]["headlines"])


def _quality(found: dict[str, Any]) -> str:
    """Every release's own figure with its interval."""
    metric = found["criteria"]["metric"]
    releases = [one for one in found["entrants"] if one["release"] and one["score"]]
    return f"{metric} " + ", ".join(f"{_kind(one)} {_score(one['score'])}" for one in releases)


def _kind(entrant: dict[str, Any]) -> str:
    return "linear" if entrant["base"] == "linear" else "specialist"


def _score(score: dict[str, Any]) -> str:
    return f"{score['value']:.1%} ({score['low']:.1%} to {score['high']:.1%}, n {score['n']})"


def _headlines(one: dict[str, Any]) -> Row:
    """Accuracy and cost of a query of our own, beside the published ones on other rows."""
    found = one["assessed"]
    rate = found["prices"]["machine"]["on_demand"]
    own = [f"{_kind(each)} {_score(each['score'])} at {_usd(rate / 3600 / each['held'])}"
           for each in found["entrants"] if each["release"] and each["score"] and each["held"]]  # fmt: skip
    theirs = {each["model"]: each for each in one["published"]}
    best = max(one["published"], key=lambda each: each["accuracy"])
    said = f"{', '.join(own)} a query at the rate that one {found['prices']['machine']['name']} would hold"
    said += f"; published: GPT-4o {theirs[GPT_4O]['accuracy']:.2%} at {_usd(theirs[GPT_4O]['usd'])}"
    said += (
        f", the best {best['model']} {best['accuracy']:.2%} at {_usd(best['usd'])}, of {len(theirs)} on n {best['n']:,}"
    )
    return (
        "… headlines: on our own part of the train rows, beside frontier models on the test rows",
        "shown",
        said,
        True,
    )


def _usd(amount: float) -> str:
    return f"${amount:.2g}" if amount >= 1e-4 or not amount else f"${amount:.{1 - floor(log10(amount))}f}"
