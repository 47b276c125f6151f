"""What the README shows of bench/extract.py: each function makes a document's rows (what, bar, figure, holds)."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
Score = dict[str, Any]
OWN, GPT = "bench@1.0.0", 0.641


def sroie(d: dict[str, Any]) -> Iterator[Row]:
    """Receipts to fields."""
    part = d["sroie"]
    candidates = {one["candidate"]: one for one in part["full"]["candidates"]}
    own = candidates[OWN]
    failures = own["failures"]
    malformed = f"{failures['invalid']} of {failures['n']}, rate below {failures['upper95']:.2%}"
    yield "SROIE receipts → 4 fields, malformed", "0", malformed, failures["invalid"] == 0
    sample = {one["candidate"]: one for one in part.get("sample", {}).get("candidates", []) if one["candidate"] != OWN}
    against = {name: pair(part["sample"], name, "f1") for name in sample}
    figure = f"{said(score(own, 'f1'))}; {part['rows']['train']} train rows, {part['training_minutes']:.0f} min"
    bar = "significantly above the untuned model"
    yield "… field F1, specialist", bar, figure, bool(against) and all(one["low"] > 0 for one in against.values())
    fields = ", ".join(
        f"{name} {score(own, 'f1', name)['value']:.1%}" for name in ("company", "date", "address", "total")
    )
    yield "… field by field", "shown", fields, True
    for name, one in against.items():
        yield f"… {name}", "in the same table", f"{said(score(sample[name], 'f1'))}; {difference(one)}", True
    figure = f"{said(score(candidates['patterns'], 'f1'))}; {difference(pair(part['full'], 'patterns', 'f1'))}"
    yield "… patterns written by hand, same rows", "beside it; published BERT-base 91.0, official split", figure, True


def cuad(d: dict[str, Any]) -> Iterator[Row]:
    """Clauses marked, and clauses found."""
    if "spans" in d:
        report = d["spans"]["full"]
        candidates = {one["candidate"]: one for one in report["candidates"]}
        own = said(score(candidates[OWN], "accuracy"))
        yield (
            "CUAD marked clauses → 41 types, accuracy",
            "71.8% (centroids, published)",
            own,
            (score(candidates[OWN], "accuracy")["value"] >= 0.718),
        )
        for name in ("baseline", "centroids"):
            figure = f"{said(score(candidates[name], 'accuracy'))}; {difference(pair(report, name, 'accuracy'))}"
            yield f"… {'linear baseline' if name == 'baseline' else name}, same rows", "in the same table", figure, True
        yield "… macro F1 over the types", "shown", said(score(candidates[OWN], "macro_f1")), True
    if "contracts" in d:
        yield from _contracts(d["contracts"])


def _contracts(part: dict[str, Any]) -> Iterator[Row]:
    own, other = part["scores"]["whole"], part["baseline"]["whole"]
    pairs, test = own["pair_f1"], part["rows"]["test"]
    far = "far below" if pairs["high"] < GPT - 0.1 else "below" if pairs["high"] < GPT else "not below"
    units = f"over (contract, type) pairs of {test} contracts"
    figure = f"{span(pairs)} {units}, {far} GPT-4.1; {span(own['span_f1'])} over clauses"
    yield "CUAD whole contracts in windows, F1", f"beside ContractEval's GPT-4.1, {GPT} (other counting)", figure, True
    between = part["pair"]
    gap = f"{between['value']:+.3f} ({between['low']:+.3f} to {between['high']:+.3f}) over clauses"
    figure = f"pairs {span(other['pair_f1'])}, clauses {span(other['span_f1'])}; the specialist {gap}"
    yield "… a linear model over sentences, same contracts", "in the same table", figure, True


def nhtsa(d: dict[str, Any]) -> Iterator[Row]:
    """Recall documents to types."""
    report = d["nhtsa"]["full"]
    candidates = {one["candidate"]: one for one in report["candidates"]}
    own, base = (said(score(candidates[name], "accuracy")) for name in (OWN, "baseline"))
    about = f"{d['nhtsa']['rows']['train']:,} train rows, {d['nhtsa']['training_minutes']:.0f} min"
    figure = f"{own} against {base}; {difference(pair(report, 'baseline', 'accuracy'))}; {about}"
    yield "NHTSA recall documents → 9 types, split by recall", "against the baseline", figure, True


def score(candidate: dict[str, Any], metric: str, slice: str | None = None) -> Score:
    """One score of a candidate."""
    return next(one for one in candidate["scores"] if (one["metric"], one["slice"]) == (metric, slice))


def pair(report: dict[str, Any], name: str, metric: str) -> Score:
    """The specialist minus `name` on a metric."""
    for one in report["pairs"]:
        if one["metric"] == metric and {one["a"], one["b"]} == {OWN, name}:
            turned = {"difference": -one["difference"], "low": -one["high"], "high": -one["low"]}
            return one if one["a"] == OWN else {**one, **turned}
    raise KeyError(f"{OWN} was not compared with {name} on {metric}")


def difference(one: Score) -> str:
    """A difference in points, and what it means."""
    word = "better" if one["low"] > 0 else "worse" if one["high"] < 0 else "a tie"
    low, high = one["low"] * 100, one["high"] * 100
    return f"the specialist {one['difference'] * 100:+.1f} points ({low:+.1f} to {high:+.1f}): {word}"


def said(one: Score) -> str:
    """A share as per cent, with interval and n."""
    return f"{one['value']:.2%} ({one['low']:.2%} to {one['high']:.2%}, n {one['n']:,})"


def span(one: Score) -> str:
    """A figure with its interval."""
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
