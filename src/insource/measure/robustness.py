"""What an adversarial set did to one candidate: way by way against its own clean rows, and what was confidently wrong.

Every figure stands on the slice `adversarial=WAY`, and on none for all ways together. Left out of the whole are texts
that were negated: whether that changes the answer is for the task to say. All that was made of one row counts as one
draw in the intervals of the whole (cluster bootstrap: Davison & Hinkley 1997, 3.8), for it stands or falls together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from insource import stats
from insource.measure import scorers
from insource.measure.adversarial import CLEAN, EXPECTED, TAG, Expect, Way, ways
from insource.measure.figures import draws
from insource.measure.run import Answered
from insource.measure.similar import embedder, similar
from insource.nouns import Candidate, Example, JsonObject, JsonValue, Prediction, Report, Score, Task, normal, same

BEFORE, AFTER, AMONG = "confidently_wrong_before", "confidently_wrong", "wrong_among_given"
CLEANLY, HARD, LOST = "clean_accuracy", "hard_accuracy", "hard_minus_clean"
CHANGED, GIVEN, STANDS = "answer_changed", "given", "values_stand"
Rows = Sequence[Answered]
AS_IT_WAS = Way("as they were", "same", None)


@dataclass(frozen=True)
class _Judged:
    """A hard row: right or not, and as it was before; whether it is wrong as its way demands; what was given.

    `draw` is the row that it was made of. None where nobody can tell. `right` and `clean` are 0 or 1, of a text to
    generate how like the target it is.
    """

    draw: str
    wrong: bool | None
    given: bool
    valid: bool
    right: float | None
    clean: float | None
    changed: bool | None
    stands: bool | None


def robustness(task: Task, rows: Rows) -> tuple[list[Score], JsonObject]:
    """Scores of one candidate's answers to an adversarial set, and each way in words. Unanswered rows are left out."""
    answered = [row for row in rows if row.prediction is not None]
    clean = {row.example.group: row for row in answered if row.example.tags[TAG] == CLEAN}
    judged: dict[str, list[_Judged]] = {}
    known = {CLEAN: AS_IT_WAS} | ways(task)
    for row in answered:
        name = row.example.tags[TAG]
        before = clean.get(row.example.group) if name != CLEAN else None
        judged.setdefault(name, []).append(_judged(task, known[name].expect, row, before))
    counted = [one for name, way in known.items() if name != CLEAN and way.expect != "other"
               for one in judged.get(name, ())]  # fmt: skip
    scores = _scores(counted, None)
    for name in known:
        scores += _scores(judged.get(name, []), f"{TAG}={name}")
    demanded = sorted({row.threshold for row in answered if row.threshold is not None})
    details: JsonObject = {
        "ways": [{"name": name, "says": way.says, "expect": EXPECTED[way.expect]} for name, way in known.items()
                 if name in judged],
        "right": "like the target" if task.kind == "generate" else "right",
        "threshold": demanded[-1] if demanded else None,
        "unsure": any(row.prediction and _valid(row.prediction) and not row.given for row in answered),
    }  # fmt: skip
    return scores, {"robustness": details}


def confidently_wrong(task: Task, row: Answered) -> bool:
    """Whether the answer to a hard row is wrong as its way demands, and left by itself; its clean row is not asked.

    Of a text to generate no rule can tell: False.
    """
    if row.prediction is None or not row.given or task.kind == "generate":
        return False
    mark = scorers.whole(task)(row.example, row.prediction)
    return bool(WRONG[ways(task)[row.example.tags[TAG]].expect](task, row.prediction, mark, None))


def sentences(report: Report) -> tuple[str, ...]:
    """The report in words, the one that is right most often first: its weakest way, and how often it errs unasked."""
    ranked = sorted(report.candidates, key=lambda one: -(right.value if (right := one.score(HARD)) else 0.0))
    return tuple(line for candidate in ranked for line in _said(candidate))


def weakest(candidate: Candidate) -> tuple[str, Score] | None:
    """The way whose loss is largest, and the loss; None where no way is shown to cost anything."""
    found = [(name, lost) for name, _ in _named(candidate) if (lost := candidate.score(LOST, f"{TAG}={name}"))]
    shown = [one for one in found if one[1].high < 0]
    return min(shown, key=lambda one: one[1].value) if shown else None


def _named(candidate: Candidate) -> list[tuple[str, str]]:
    return [(way["name"], way["says"]) for way in candidate.details.get("robustness", {}).get("ways", [])]


def _said(candidate: Candidate) -> list[str]:
    name, says = candidate.candidate, dict(_named(candidate))
    whole, lost = candidate.score(LOST), weakest(candidate)
    lines = []
    if lost is not None:
        way, loss = lost
        right, clean = candidate.score(HARD, loss.slice), candidate.score(CLEANLY, loss.slice)
        if right is not None and clean is not None:
            what = candidate.details["robustness"]["right"]
            lines.append(
                f"{name} is weakest against {says[way]}: {right.value:.1%} {what} where the same rows are "
                f"{clean.value:.1%} {what} as they were, {_points(loss)}."
            )
    elif whole is not None:
        lines.append(f"{name} keeps its answers: no way is shown to cost it any, all together {_points(whole)}.")
    before, after = candidate.score(BEFORE), candidate.score(AFTER)
    if before is not None and after is not None:
        lines.append(_confident(candidate, before, after))
    return lines


def _confident(candidate: Candidate, before: Score, after: Score) -> str:
    rule = candidate.details["robustness"]
    everyone = f"{candidate.candidate} is confidently wrong on {_share(before)} of the hard rows"
    if rule["threshold"] is None and not rule["unsure"]:
        return f"{everyone}: [risk] demands no confidence, so every valid answer is given."
    by = "its limits" if rule["threshold"] is None else f"a confidence of {rule['threshold']:.2f} demanded"
    lines = f"{everyone} if every answer is given, {_share(after)} with {by}"
    if among := candidate.score(AMONG):
        lines += f", where {_share(among)} of what is given is wrong"
    left_out = (EXPECTED["other"], AS_IT_WAS.says)
    counted = {f"{TAG}={way['name']}": way["says"] for way in rule["ways"] if not {*way.values()} & {*left_out}}
    found = [score for score in candidate.scores if score.metric == AFTER and score.slice in counted]
    worst = max(found, key=lambda score: score.value, default=after)
    return f"{lines}; most on {counted[worst.slice]}: {_share(worst)}." if worst.slice and worst.value else f"{lines}."


def _share(score: Score) -> str:
    return f"{score.value:.1%} ({score.low * 100:.1f} to {score.high * 100:.1f}, n {score.n:,})"


def _points(score: Score) -> str:
    low, high = score.low * 100, score.high * 100
    return f"{score.value * 100:+.1f} points ({low:+.1f} to {high:+.1f}, n {score.n:,})"


def _judged(task: Task, expect: Expect, row: Answered, clean: Answered | None) -> _Judged:
    answer = row.prediction
    before = clean.prediction if clean else None
    if answer is None:
        raise ValueError("only answered rows are judged")
    right = _right(task)
    mark = right(row.example, answer)
    changed = None if before is None else not _alike(task, answer, before)
    return _Judged(
        draw=row.example.group or row.example.id,
        wrong=None if task.kind == "generate" else WRONG[expect](task, answer, mark, changed),
        given=row.given,
        valid=_valid(answer),
        right=mark,
        clean=None if clean is None or before is None or mark is None else right(clean.example, before),
        changed=changed,
        stands=_stands(task, answer, row.example, clean),
    )


# What is wrong of a way, were it given: the answer itself, that it stayed, or that there is one at all
WRONG: dict[Expect, Callable[[Task, Prediction, float | None, bool | None], bool | None]] = {
    "same": lambda _, __, mark, ___: None if mark is None else mark == 0,
    "unsure": lambda _, __, mark, ___: None if mark is None else mark == 0,
    "other": lambda _, __, ___, changed: None if changed is None else not changed,
    "nothing": lambda task, answer, _, __: any(normal(scorers.said(answer, name)) is not None for name in task.fields),
}


def _right(task: Task) -> scorers.Scorer:
    """Whether an answer is right; how like the target a text is, by its meaning or else by its words."""
    if task.kind != "generate":
        return scorers.whole(task)
    return scorers.token_f1() if embedder() is None else similar


def _valid(answer: Prediction) -> bool:
    return answer.value is not None and answer.finish == "stop"


def _alike(task: Task, a: Prediction, b: Prediction) -> bool:
    return all(same(scorers.said(a, name), scorers.said(b, name)) for name in task.fields)


def _stands(task: Task, answer: Prediction, hard: Example, clean: Answered | None) -> bool | None:
    """Whether what an extraction took from the text stands in it, of the fields whose right value stood there."""
    if task.kind != "extract" or clean is None:
        return None
    literal = [name for name in task.fields if _within(clean.example.target.get(name), clean.example.input)]
    values = [scorers.said(answer, name) for name in literal]
    taken = [value for value in values if normal(value) is not None]
    return all(_within(value, hard.input) for value in taken) if taken else None


def _within(value: JsonValue, text: str) -> bool:
    items = value if isinstance(value, list) else [value]
    whole = str(normal(text) or "")
    return bool(items) and all(isinstance(one, str) and str(normal(one) or "\0") in whole for one in items)


def _scores(rows: Sequence[_Judged], slice: str | None) -> list[Score]:
    """The figures of a way, or of all. A share is Wilson's, the difference Bonett & Price's on the same rows."""
    told = [one for one in rows if one.wrong is not None]
    shares: dict[str, list[tuple[str, float]]] = {
        CLEANLY: [(one.draw, one.clean) for one in rows if one.right is not None and one.clean is not None],
        HARD: [(one.draw, one.right) for one in rows if one.right is not None and one.clean is not None],
        CHANGED: [(one.draw, one.changed) for one in rows if one.changed is not None],
        GIVEN: [(one.draw, one.given) for one in rows],
        BEFORE: [(one.draw, bool(one.wrong and one.valid)) for one in told],
        AFTER: [(one.draw, bool(one.wrong and one.given)) for one in told],
        AMONG: [(one.draw, bool(one.wrong)) for one in told if one.given],
        STANDS: [(one.draw, one.stands) for one in rows if one.stands is not None],
    }
    shares[LOST] = [
        (draw, hard - clean) for (draw, hard), (_, clean) in zip(shares[HARD], shares[CLEANLY], strict=True)
    ]
    return [_score(metric, slice, marks) for metric, marks in shares.items() if marks]


def _score(metric: str, slice: str | None, marks: Sequence[tuple[str, float]]) -> Score:
    values = [value for _, value in marks]
    n, value = len(values), sum(values) / len(values)
    if slice is None:
        low, high = _clustered(marks, signed=metric == LOST)
    elif not {*values} <= {-1.0, 0.0, 1.0}:  # how like a target a text is
        low, high = stats.student_interval(values)
        low, high = max(low, -1.0 if metric == LOST else 0.0), min(high, 1.0)
    elif metric == LOST:
        off = stats.paired_proportions(sum(v > 0 for v in values), sum(v < 0 for v in values), n)
        low, high = off.low, off.high
    else:
        low, high = stats.wilson(sum(values), n)
    return Score(metric=metric, slice=slice, value=value, low=min(low, value), high=max(high, value), n=n)


def _clustered(marks: Sequence[tuple[str, float]], *, signed: bool) -> tuple[float, float]:
    """The interval of a mean, what came of one row drawn together; where all are alike Wilson's of the rows."""
    names = {draw: place for place, draw in enumerate(dict.fromkeys(draw for draw, _ in marks))}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for draw, value in marks:
        sums[names[draw]] += value
        counts[names[draw]] += 1
    total = float(sums.sum())
    if signed and not any(value for _, value in marks):
        return stats.undrawn(0.0, len(names))
    if not signed and total in (0.0, float(counts.sum())):
        return stats.wilson(len(names) if total else 0, len(names))
    return stats.bootstrap(lambda weights: (weights @ sums) / (weights @ counts), len(names), draws=draws(len(names)))
