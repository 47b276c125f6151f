"""The part of the page that shows what people said: marks or preferences, differences, and how far they agree."""

from insource.measure import charts, words
from insource.measure.rating import GOOD, PREFERRED, RATING
from insource.nouns import JsonObject, Report

MARK = 0.01  # the axes are drawn for shares: a mark of 4 is drawn as 4 in a hundred


def people(report: Report) -> JsonObject | None:
    """What the section shows; None for a report that nobody rated."""
    said = next((one.details["ratings"] for one in report.candidates if one.details.get("ratings")), None)
    if said is None:
        return None
    metric, unit = (RATING, MARK) if said["scale"] == "marks" else (PREFERRED, 1.0)
    found = [(one, score) for one in report.candidates if (score := one.score(metric))]
    pairs = [one for one in report.pairs if one.metric == metric]
    marks = charts.Axis(MARK, 5 * MARK, tuple(MARK * mark for mark in range(1, 6)))
    edges = [edge for _, score in found for edge in (score.low, score.high)]
    axis = marks if metric == RATING else charts.axis(edges)
    apart = charts.axis([edge * unit for pair in pairs for edge in (pair.low, pair.high)] or [0.0], zero=True)
    return {
        **said,
        "scores": [
            {"name": one.candidate, "score": score, "good": one.score(GOOD),
             "picture": charts.whisker(axis, score.low * unit, score.value * unit, score.high * unit, "wins")}
            for one, score in found
        ],
        "pairs": [
            {"pair": pair, "verdict": words.verdict(pair), "ties": pair.n - pair.a_only - pair.b_only,
             "picture": charts.whisker(apart, pair.low * unit, pair.difference * unit, pair.high * unit,
                                       words.verdict(pair))}
            for pair in pairs
        ],
        "scale_of_scores": charts.scale(axis),
        "scale_of_pairs": charts.scale(apart, sign=True),
    }  # fmt: skip
