"""The README's rows of bench/adversarial.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
ASKED = 0.05
RULES = {"threshold": "promised at 5%", "scope": "and with out_of_scope = 0.04"}


def adversarial(d: dict[str, Any]) -> Iterator[Row]:
    """What each way costs, and what is confidently wrong before and after the threshold and the limit of scope."""
    yield from _engine("linear", d["linear"])
    if d["specialist"]:
        made = d["specialist"]
        yield from _engine(f"{made['engine']} on {made['train_rows']:,} train rows", made)


def _engine(name: str, found: dict[str, Any]) -> Iterator[Row]:
    rows = f"{found['rows']:,} test rows"
    for way in found["threshold"]["robustness"]["ways"]:
        at = f"adversarial={way['name']}"
        loss, said = _score(found, "hard_minus_clean", at), []
        if loss:
            clean, hard = _score(found, "clean_accuracy", at), _score(found, "hard_accuracy", at)
            said.append(f"right {clean['value']:.1%} → {hard['value']:.1%}, {_points(loss)}")
        said.append(_confident(found, at))
        yield f"… BANKING77, {name}, {way['says']}: {way['expect']}", "shown", "; ".join(said), True
    before, after = _score(found, "confidently_wrong_before", None), _score(found, "confidently_wrong", None)
    yield (
        f"BANKING77, {name}: confidently wrong on hard texts of {rows}, before and after a promise of 5%",
        "after < before",
        f"{_confident(found, None)}; n {after['n']:,}",
        after["high"] < before["low"],
    )
    clean = _score(found, "wrong_among_given", "adversarial=clean")
    among = {rule: _score(found, "wrong_among_given", None, rule) for rule in RULES}
    yield (
        "… wrong among the answers given by themselves: the rows as they were",
        "≤ 5%",
        _said(clean),
        clean["low"] <= ASKED,
    )
    worse = "; ".join(f"{words} {_said(among[rule])}" for rule, words in RULES.items())
    yield "… the same of hard texts, of which nothing was promised", "shown", worse, True


def _confident(found: dict[str, Any], at: str | None) -> str:
    before = _score(found, "confidently_wrong_before", at)
    after = [f"{words} {_said(_score(found, 'confidently_wrong', at, rule))}" for rule, words in RULES.items()]
    return f"confidently wrong {before['value']:.1%} if all is given, {', '.join(after)}"


def _score(found: dict[str, Any], metric: str, at: str | None, rule: str = "threshold") -> Any:
    scores = found[rule]["scores"]
    return next((one for one in scores if one["metric"] == metric and one["slice"] == at), None)


def _said(score: dict[str, Any]) -> str:
    return f"{score['value']:.1%} ({score['low']:.1%} to {score['high']:.1%}, n {score['n']:,})"


def _points(score: dict[str, Any]) -> str:
    low, high = score["low"] * 100, score["high"] * 100
    return f"{score['value'] * 100:+.1f} points ({low:+.1f} to {high:+.1f}, n {score['n']:,})"
