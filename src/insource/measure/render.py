"""The report as one self-contained page: no script, no request, dark and light, narrow and on paper."""

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from insource.measure import charts, words
from insource.measure.figures import metrics
from insource.measure.rated_page import people
from insource.measure.robust_page import attacks
from insource.nouns import Candidate, JsonObject, Pair, Report, Score, Task, visible

SHARES = ("accuracy", "macro_f1", "path_accuracy", "exact", "f1", "precision", "recall", "token_f1", "level_accuracy")
SURE = ("ece", "brier", "aurc", "share_at_85", "accuracy_at_85", "coverage_at_5pct_error")
ROWS_OF_CURVE = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25)


def html(report: Report, task: Task) -> str:
    """The page; every text of the data is escaped, and was cut when the report was made."""
    pages = Environment(
        loader=PackageLoader("insource.measure"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"thousands": "{:,}".format, "percent": _percent}
    pages.filters |= {"called": words.called, "signed": _signed, "breakable": _breakable}
    metric = words.leading(task, report)
    winner = words.best(report, metric).candidate if report.candidates else ""
    whole = pages.get_template("report.html").render(
        report=report,
        task=task,
        winner=winner,
        attacks=attacks(report),
        people=people(report),
        scores=[_chart(report, one.name, winner) for one in metrics(task) if _measured(report, one.name)],
        pairs=_pairs(report, task),
        parts=_parts(report, task),
        slices=_slices(report, task),
        sure=[_sure(candidate, report) for candidate in report.candidates if candidate.details.get("curve")],
        unsure=[c.candidate for c in report.candidates if not c.details.get("curve")],
        demands=[(c.candidate, c.details["acceptance"]) for c in report.candidates if c.details.get("acceptance")],
        confused=[c for c in report.candidates if c.details.get("confusions")],
        priced=any(c.usd_per_1k is not None for c in report.candidates),
    )
    return visible(whole)


def _measured(report: Report, metric: str) -> bool:
    return any(candidate.score(metric) for candidate in report.candidates)


def _chart(report: Report, metric: str, winner: str) -> JsonObject:
    """One line a candidate: dot and whisker over a shared axis."""
    found = [(c, score) for c in report.candidates if (score := c.score(metric))]
    axis = charts.axis([edge for _, score in found for edge in (score.low, score.high)])
    lines = [
        {
            "name": candidate.candidate,
            "kind": candidate.kind,
            "wins": candidate.candidate == winner,
            "score": score,
            "picture": charts.whisker(
                axis, score.low, score.value, score.high, "wins" * (candidate.candidate == winner)
            ),
        }
        for candidate, score in found
    ]
    return {"metric": metric, "scale": charts.scale(axis), "lines": lines}


def _pairs(report: Report, task: Task) -> list[JsonObject]:
    """One table a metric: the difference of every pair, with who won how many rows."""
    found = []
    for metric in metrics(task):
        mine = [pair for pair in report.pairs if pair.metric == metric.name]
        if mine:
            axis = charts.axis([edge for pair in mine for edge in (pair.low, pair.high)], zero=True)
            lines = [_pair(pair, axis) for pair in mine]
            found.append({"metric": metric.name, "scale": charts.scale(axis, sign=True), "lines": lines,
                          "counted": metric.scorer is not None})  # fmt: skip
    return found


def _pair(pair: Pair, axis: charts.Axis) -> JsonObject:
    verdict = words.verdict(pair)
    return {
        "pair": pair,
        "verdict": verdict,
        "ties": pair.n - pair.a_only - pair.b_only,
        "picture": charts.whisker(axis, pair.low, pair.difference, pair.high, verdict),
        "p": "< 0.001" if pair.p < 0.001 else f"{pair.p:.3f}",
    }


def _parts(report: Report, task: Task) -> list[JsonObject]:
    """Per candidate: the scores of each output or field, and of each level of a taxonomy."""
    if task.kind == "generate" or (len(task.fields) == 1 and not any(output.taxonomy for output in task.outputs)):
        return []
    found = []
    for candidate in report.candidates:
        lines = [
            (score.slice, score)
            for score in candidate.scores
            if score.slice is not None and "=" not in score.slice and score.metric in SHARES
        ]
        if lines:
            names = list(dict.fromkeys(score.metric for _, score in lines))
            rows = {name: {score.metric: score for part, score in lines if part == name} for name, _ in lines}
            found.append({"name": candidate.candidate, "metrics": names, "rows": rows})
    return found


def _slices(report: Report, task: Task) -> list[JsonObject]:
    """One line a tag value: the leading share of each candidate on the rows that have it."""
    metric = next(metric.name for metric in metrics(task) if metric.kind == "share")
    tags = dict.fromkeys(
        score.slice
        for c in report.candidates
        for score in c.scores
        if score.metric == metric and score.slice and "=" in score.slice
    )
    return [{"tag": tag, "scores": [c.score(metric, tag) for c in report.candidates]} for tag in tags]


def _sure(candidate: Candidate, report: Report) -> JsonObject:
    """What the confidence section shows of one candidate."""
    name = candidate.candidate
    points = candidate.details["curve"]
    others = [c.details["curve"] for c in report.candidates if c is not candidate and c.details.get("curve")]
    scores = {metric: score for metric in SURE if (score := candidate.score(metric))}
    return {
        "name": name,
        "scores": scores,
        "bins": candidate.details["reliability"],
        "reliability": charts.reliability(candidate.details["reliability"], f"{name}: {_calibrated(scores['ece'])}"),
        "curve": charts.curve(points, others, f"{name}: {_at_full(points)}"),
        "points": _some(points),
    }


def _calibrated(ece: Score) -> str:
    return f"confidence and accuracy are {ece.value * 100:.1f} points apart on average"


def _at_full(points: Sequence[JsonObject]) -> str:
    last = points[-1]
    return f"{last['accuracy']:.1%} right when {last['share']:.0%} is answered"


def _some(points: Sequence[JsonObject]) -> list[JsonObject]:
    """The points of the curve nearest below some round shares, for the table."""
    found: list[JsonObject] = []
    for share in ROWS_OF_CURVE:
        fitting = [point for point in points if point["share"] <= share + 1e-9]
        if fitting and fitting[-1] not in found:
            found.append(fitting[-1])
    return found


def _percent(value: float, digits: int = 1) -> str:
    return f"{value * 100:.{digits}f}%"


def _signed(value: float) -> Markup:
    return Markup("{}").format(f"{value * 100:+.1f}".replace("-", "\N{MINUS SIGN}"))


def _breakable(text: str) -> Markup:
    """The text, which may break after the marks that join the words of a name."""
    pieces = re.split(r"(?<=[_/:.@-])", text)
    return Markup("<wbr>").join(pieces)
