"""The part of the page that shows an attack: what each way costs, and which wrong answers leave by themselves."""

from insource.measure import charts
from insource.measure.adversarial import TAG
from insource.measure.robustness import AFTER, AMONG, BEFORE, CHANGED, CLEANLY, GIVEN, HARD, LOST, STANDS
from insource.nouns import Candidate, JsonObject, Report, Score


def attacks(report: Report) -> list[JsonObject]:
    """Of each candidate that was attacked: two tables; none for another report."""
    return [_attack(candidate) for candidate in report.candidates if candidate.details.get("robustness")]


def _attack(candidate: Candidate) -> JsonObject:
    ways = candidate.details["robustness"]["ways"]
    lost = [one for way in ways if (one := _lost(candidate, way))]
    kept = [one for way in ways if (one := _kept(candidate, way))]
    return {
        "name": candidate.candidate,
        "lost": _placed(lost, zero=True),
        "kept": _placed(kept, zero=False),
        "given": candidate.score(GIVEN),
        "among": candidate.score(AMONG),
        "threshold": candidate.details["robustness"]["threshold"],
    }


def _lost(candidate: Candidate, way: JsonObject) -> JsonObject | None:
    scores = _scores(candidate, way, LOST, CLEANLY, HARD, CHANGED, STANDS)
    off = scores[LOST]
    if off is None:
        return None
    look = "better" if off.low > 0 else "worse" if off.high < 0 else "tie"
    return {"way": way, "score": off, "look": look, **scores}


def _kept(candidate: Candidate, way: JsonObject) -> JsonObject | None:
    scores = _scores(candidate, way, BEFORE, AFTER, CHANGED)
    return {"way": way, "score": scores[AFTER], "look": "", **scores} if scores[BEFORE] and scores[AFTER] else None


def _scores(candidate: Candidate, way: JsonObject, *metrics: str) -> dict[str, Score | None]:
    return {metric: candidate.score(metric, f"{TAG}={way['name']}") for metric in metrics}


def _placed(lines: list[JsonObject], *, zero: bool) -> JsonObject:
    """The lines with their pictures on one axis, and its scale; without lines, none."""
    if not lines:
        return {"scale": "", "lines": []}
    edges = [edge for line in lines for edge in (line["score"].low, line["score"].high)]
    edges += [0.0] + [line[BEFORE].value for line in lines if BEFORE in line]
    axis = charts.axis(edges, zero=zero)
    for line in lines:
        score, before = line["score"], line.get(BEFORE)
        line["picture"] = charts.whisker(
            axis, score.low, score.value, score.high, line["look"], before=before.value if before else None
        )
    return {"scale": charts.scale(axis, sign=zero), "lines": lines}
