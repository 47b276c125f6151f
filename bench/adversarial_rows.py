"""The README's rows of bench/adversarial.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
ASKED = 0.05
RULES = {"threshold": " promised at 5%", "scope": " with out_of_scope = 0.04 too"}


def adversarial(d: dict[str, Any]) -> Iterator[Row]:
    """What each way costs, and what is confidently wrong before and after the threshold and the limit of scope."""
    yield from _engine("linear", d["linear"])
    if d["specialist"]:
        made = d["specialist"]
        yield from _engine(f"{made['engine']} on {made['train_rows']:,} train rows", made)


def _engine(name: str, found: dict[str, Any]) -> Iterator[Row]:
    before, after = _score(found, "confidently_wrong_before", None), _score(found, "confidently_wrong", None)
    yield (
        f"BANKING77, {name}: confidently wrong on hard texts of {found['rows']:,} test rows, 13 ways a row",
        "less with the threshold",
        f"{_said(before)} if all is given, {_rules(found, None)}",
        after["high"] < before["low"],
    )
    clean, among = (_score(found, "wrong_among_given", at) for at in ("adversarial=clean", None))
    given = _score(found, "given", "adversarial=clean")
    yield (
        "… of the answers given by themselves wrong, rows as they were: what was promised",
        "≤ 5%",
        f"{_said(clean)}, {given['value']:.1%} given",
        clean["low"] <= ASKED,
    )
    given = _score(found, "given", None)
    yield (
        "… the same of hard texts: of these nothing was promised",
        "shown",
        f"{_said(among)}, {given['value']:.1%} given",
        True,
    )
    for way in found["threshold"]["robustness"]["ways"][1:]:
        at = f"adversarial={way['name']}"
        loss, said = _score(found, "hard_minus_clean", at), ""
        if loss:
            clean, hard = _score(found, "clean_accuracy", at), _score(found, "hard_accuracy", at)
            said = f"right {clean['value']:.1%} → {hard['value']:.1%}, {_points(loss)}; "
        all_given = _score(found, "confidently_wrong_before", at)
        said += f"confidently wrong {all_given['value']:.1%} → {_rules(found, at)}"
        yield f"… {way['says']}: {way['expect']}", "shown", said, True


def _rules(found: dict[str, Any], at: str | None) -> str:
    return ", ".join(f"{_said(_score(found, 'confidently_wrong', at, rule))}{words}" for rule, words in RULES.items())


def _score(found: dict[str, Any], metric: str, at: str | None, rule: str = "threshold") -> Any:
    scores = found[rule]["scores"]
    return next((one for one in scores if one["metric"] == metric and one["slice"] == at), None)


def _said(score: dict[str, Any]) -> str:
    return f"{score['value']:.1%} ({score['low']:.1%} to {score['high']:.1%}, n {score['n']:,})"


def _points(score: dict[str, Any]) -> str:
    low, high = score["low"] * 100, score["high"] * 100
    return f"{score['value'] * 100:+.1f} points ({low:+.1f} to {high:+.1f}, n {score['n']:,})"
