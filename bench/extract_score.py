"""Scores of bench/extract.py that need more than a row's right or wrong: by label, and by places in a contract.

A clause counts as found where a span of its type shares at least half of what both cover (Jaccard on characters, the
CUAD paper's own rule, Hendrycks et al. 2021, arXiv:2103.06268). Spans are matched one to one, the best first. What the
model said that does not stand in the contract literally has no span, and is wrong. Intervals are bootstrapped over
contracts, or over rows for labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insource.stats import bootstrap, paired_bootstrap
from insource.stats.intervals import Statistic

Floats = NDArray[np.float64]
Span = tuple[int, int]
Marks = Sequence[tuple[str, int, int, str]]
Row = dict[str, Any]
ALIKE = 0.5


def by_label(gold: Sequence[str], said: Sequence[str | None]) -> list[dict[str, Any]]:
    """F1 of every label with its interval; n is how many rows have it. The commonest first."""
    found = []
    for label in sorted(set(gold), key=lambda label: -gold.count(label)):
        counts = np.zeros((3, len(gold)))
        for i, (wanted, given) in enumerate(zip(gold, said, strict=True)):
            right = wanted == given == label
            counts[:, i] = right, given == label and not right, wanted == label and not right
        found.append({"type": label, "n": gold.count(label), **_f1(counts)})
    return found


def by_type(gold: Sequence[Marks], rows: Sequence[Row]) -> dict[str, Any]:
    """F1 of every type over its spans; over all spans and over (contract, type) pairs for the whole.

    A pair is right when one of its marked clauses was found, wrong when something was said and none was, missed when a
    clause is marked and none was found: near to how ContractEval counts, but not the same.
    """
    kinds, spans, pairs = _counted(gold, rows)
    marked = [int((spans[k, 0] + spans[k, 2]).sum()) for k in range(len(kinds))]
    types = [{"type": kind, "n": marked[k], **_f1(spans[k])} for k, kind in enumerate(kinds)]
    right, wrong, missed = spans.sum(axis=0)
    whole = {
        "span_f1": _f1(spans.sum(axis=0)),
        "span_precision": _f1(np.stack([right, wrong, wrong])),  # 2a / (2a + 2b)
        "span_recall": _f1(np.stack([right, missed, missed])),
        "pair_f1": _f1(pairs),
    }
    places = [at for row in rows for each in (row["places"] or {}).values() for at in each or []]
    return {"types": sorted(types, key=lambda one: -one["n"]), "whole": whole, "said": len(places),
            "unplaced": sum(at is None for at in places)}  # fmt: skip


def paired(gold: Sequence[Marks], a: Sequence[Row], b: Sequence[Row]) -> dict[str, float]:
    """Span F1 of a minus that of b on the same contracts, with its paired bootstrap interval."""
    of_a, of_b = (_f1_of(_counted(gold, rows)[1].sum(axis=0)) for rows in (a, b))
    found = paired_bootstrap(of_a, of_b, len(gold))
    return {"value": found.value, "low": found.low, "high": found.high, "p": found.p}


def _counted(gold: Sequence[Marks], rows: Sequence[Row]) -> tuple[list[str], Floats, Floats]:
    """The types, right, wrong and missed spans [types, 3, contracts], and the same of pairs [3, contracts]."""
    kinds = sorted({span[0] for spans in gold for span in spans} | {k for row in rows for k in row["places"] or {}})
    spans, pairs = np.zeros((len(kinds), 3, len(rows))), np.zeros((3, len(rows)))
    for i, (wanted, row) in enumerate(zip(gold, rows, strict=True)):
        for k, kind in enumerate(kinds):
            own = [(start, stop) for each, start, stop, _ in wanted if each == kind]
            given = [(at[0], at[1]) if at else None for at in ((row["places"] or {}).get(kind) or [])]
            right = _matched(own, [at for at in given if at])
            spans[k, :, i] = right, len(given) - right, len(own) - right
            pairs[:, i] += right > 0, bool(given) and not right, bool(own) and not right
    return kinds, spans, pairs


def _matched(wanted: Sequence[Span], given: Sequence[Span]) -> int:
    """How many of both can be paired at a Jaccard of at least a half, the best pairs first."""
    pairs = sorted(((_jaccard(a, b), i, j) for i, a in enumerate(wanted) for j, b in enumerate(given)), reverse=True)
    left, right = set(range(len(wanted))), set(range(len(given)))
    count = 0
    for alike, i, j in pairs:
        if alike >= ALIKE and i in left and j in right:
            left.discard(i)
            right.discard(j)
            count += 1
    return count


def _jaccard(a: Span, b: Span) -> float:
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return max(0, shared) / (max(a[1], b[1]) - min(a[0], b[0])) if shared > 0 else 0.0


def _f1(counts: Floats) -> dict[str, float]:
    """2a / (2a + b + c) of the sums of right, wrong and missed [3, n], with its bootstrap interval.

    0 with the interval 0 to 1 where nothing is counted.
    """
    of, n = _f1_of(counts), counts.shape[1]
    value = float(of(np.ones((1, n)))[0]) if n else float("nan")
    if np.isnan(value):
        return {"value": 0.0, "low": 0.0, "high": 1.0}
    low, high = bootstrap(of, n)
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _f1_of(counts: Floats) -> Statistic:
    def of(weights: Floats) -> Floats:
        a, b, c = (weights @ row for row in counts)
        total = 2 * a + b + c
        return np.divide(2 * a, total, out=np.full(len(weights), np.nan), where=total > 0)

    return of
