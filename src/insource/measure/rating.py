"""Answers judged by people who do not know whose they are: the sheet, what came back, and what it says.

A sheet shows answers in an order drawn by chance, without names; the key that is kept says whose each is. Two scales: a
mark from 1 to 5 for each answer, or of two answers whether the first is better, the same or worse. Pure.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import msgspec

from insource import stats
from insource.errors import Invalid
from insource.measure.evidence import shown
from insource.measure.run import Answered
from insource.nouns import Candidate, JsonObject, Noun, Pair, Report, Score, Task, digest

Scale = Literal["marks", "pairs"]
WORDS: dict[Scale, tuple[str, ...]] = {"marks": ("1", "2", "3", "4", "5"), "pairs": ("better", "same", "worse")}
RATING, GOOD, PREFERRED = "rating", "rated_good", "preferred"
RATED = "rated"
LOWEST, LEAST_GOOD, HIGHEST = 1, 4, 5
WON = {"better": 1.0, "same": 0.0, "worse": -1.0}


class Item(Noun, frozen=True, kw_only=True):
    """One line of a sheet: a row of the report, and who answered: all who gave that answer, or the two in turn."""

    row: str
    candidates: tuple[str, ...]


class Key(Noun, frozen=True, kw_only=True):
    """Whose answers a sheet shows, by the line's number. It holds no text; who rates must not see it."""

    sheet: str
    task: str
    report: str
    scale: Scale
    items: dict[str, Item]


@dataclass(frozen=True)
class Line:
    """What somebody who rates sees of an item: the input, what was wanted, and one answer or two."""

    item: str
    input: str
    target: str
    answers: tuple[str, ...]


def lay_out(
    task: Task, report: str, runs: Mapping[str, Sequence[Answered]], scale: Scale, seed: str
) -> tuple[Key, list[Line]]:
    """The key and the lines of a sheet over all rows that every candidate answered; `seed` draws every order.

    Raises `Invalid` where two answers a row are to be compared and there are not two candidates, or no such rows.
    """
    if scale == "pairs" and len(runs) != 2:
        raise Invalid(
            f"better or worse is said of two candidates, not of {len(runs)}", hint="--candidate A --candidate B"
        )
    chance = random.Random(seed)  # noqa: S311 - an order; nobody who rates knows the seed
    by_place: dict[int, dict[str, Answered]] = {}
    for name, rows in runs.items():
        for row in rows:
            if row.prediction is not None:
                by_place.setdefault(row.place, {})[name] = row
    whole = [said for said in by_place.values() if len(said) == len(runs)]
    if not whole:
        raise Invalid("there is no row that every candidate answered", hint="insource measure TASK says why")
    chance.shuffle(whole)
    items: dict[str, Item] = {}
    lines: list[Line] = []
    for said in whole:
        for names, answers in _shuffled(task, said, scale, chance):
            example = said[names[0]].example
            number = str(len(items) + 1)
            items[number] = Item(row=example.id, candidates=names)
            lines.append(Line(number, example.input, shown(task, example.target), answers))
    sheet = digest([seed, report])[:12]
    return Key(sheet=sheet, task=task.name, report=report, scale=scale, items=items), lines


def _shuffled(
    task: Task, said: Mapping[str, Answered], scale: Scale, chance: random.Random
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Who answered what, for the lines of one row. What several answered alike is rated once, for all of them."""
    names = list(said)
    chance.shuffle(names)
    answers = {name: _text(task, said[name]) for name in names}
    if scale == "pairs":
        return [(tuple(names), tuple(answers[name] for name in names))]
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(answers[name], []).append(name)
    return [(tuple(who), (answer,)) for answer, who in alike.items()]


def _text(task: Task, row: Answered) -> str:
    value = row.prediction.value if row.prediction and row.valid else None
    if value is None:
        return "(no valid answer)"
    return str(value.get("text") or "(nothing)") if task.kind == "generate" else shown(task, value) or "(nothing)"


@dataclass(frozen=True)
class Ratings:
    """What one person said: item → mark or word, in the words of the scale."""

    rater: str
    said: dict[str, str]


def rated(report: Report, key: Key, ratings: Sequence[Ratings]) -> Report:
    """The report with what people said: scores with intervals, pairs, and how far the raters agree.

    Each row counts once, by the mean of those who rated it. Raises `Invalid` where nobody rated anything.
    """
    if not any(one.said for one in ratings):
        raise Invalid("no line of the sheet is rated", hint="fill in the column rating")
    scores, pairs = _marks(report, key, ratings) if key.scale == "marks" else _preferences(report, key, ratings)
    people: JsonObject = {
        "scale": key.scale,
        "raters": [{"name": one.rater, "n": len(one.said)} for one in ratings],
        "agreement": _agreements(ratings),
    }
    candidates = tuple(_with(one, scores.get(one.candidate, []), people) for one in report.candidates)
    made = msgspec.structs.replace(report, candidates=candidates, pairs=(*report.pairs, *pairs), id="")
    made = msgspec.structs.replace(made, summary=(*_words(made, key, ratings), *report.summary))
    return msgspec.structs.replace(made, id=digest(made))


def _with(candidate: Candidate, scores: Sequence[Score], people: JsonObject) -> Candidate:
    kept = tuple(one for one in candidate.scores if one.metric not in (RATING, GOOD, PREFERRED))
    details = {**candidate.details, "ratings": people}
    return msgspec.structs.replace(candidate, scores=(*kept, *scores), details=details)


Found = tuple[dict[str, list[Score]], list[Pair]]


def _marks(report: Report, key: Key, ratings: Sequence[Ratings]) -> Found:
    """The mean mark of each candidate, the share of rows marked 4 or better, and the differences on the same rows."""
    given: dict[str, dict[str, list[float]]] = {}
    for one in ratings:
        for number, mark in one.said.items():
            for name in key.items[number].candidates:
                given.setdefault(name, {}).setdefault(key.items[number].row, []).append(float(mark))
    means = {name: {row: sum(marks) / len(marks) for row, marks in rows.items()} for name, rows in given.items()}
    scores = {name: [_mean(list(rows.values())), _good(list(rows.values()))] for name, rows in means.items()}
    order = [one.candidate for one in report.candidates if one.candidate in means]
    return scores, [pair for a, b in combinations(order, 2) if (pair := _apart(a, b, means[a], means[b]))]


def _mean(marks: Sequence[float]) -> Score:
    low, high = stats.student_interval(marks, rounding=1.0)
    value = sum(marks) / len(marks)
    return Score(metric=RATING, value=value, low=max(low, LOWEST), high=min(high, HIGHEST), n=len(marks))


def _good(marks: Sequence[float]) -> Score:
    good = sum(mark >= LEAST_GOOD for mark in marks)
    low, high = stats.wilson(good, len(marks))
    return Score(metric=GOOD, value=good / len(marks), low=low, high=high, n=len(marks))


def _apart(a: str, b: str, mine: Mapping[str, float], theirs: Mapping[str, float]) -> Pair | None:
    apart = [mine[row] - theirs[row] for row in mine if row in theirs]
    if not apart:
        return None
    low, high = stats.student_interval(apart, rounding=1.0)
    won, lost, value = sum(off > 0 for off in apart), sum(off < 0 for off in apart), sum(apart) / len(apart)
    widest = HIGHEST - LOWEST
    return Pair(a=a, b=b, metric=RATING, difference=value, low=max(low, -widest), high=min(high, widest),
                p=stats.mcnemar(won, lost), n=len(apart), a_only=won, b_only=lost)  # fmt: skip


def _preferences(report: Report, key: Key, ratings: Sequence[Ratings]) -> Found:
    """The share of rows on which each of the two was preferred, and the difference of the two shares."""
    a, b = (one.candidate for one in report.candidates if one.candidate in next(iter(key.items.values())).candidates)
    won: dict[str, list[float]] = {}
    for one in ratings:
        for number, word in one.said.items():
            item = key.items[number]
            won.setdefault(item.row, []).append(WON[word] if item.candidates[0] == a else -WON[word])
    balance = [sum(marks) for marks in won.values()]
    wins, losses, n = sum(v > 0 for v in balance), sum(v < 0 for v in balance), len(balance)
    scores = {}
    for name, count in ((a, wins), (b, losses)):
        low, high = stats.wilson(count, n)
        scores[name] = [Score(metric=PREFERRED, value=count / n, low=low, high=high, n=n)]
    off = stats.paired_proportions(wins, losses, n)
    return scores, [Pair(a=a, b=b, metric=PREFERRED, difference=off.value, low=off.low, high=off.high, p=off.p, n=n,
                         a_only=wins, b_only=losses)]  # fmt: skip


def _agreements(ratings: Sequence[Ratings]) -> list[JsonObject]:
    """Of each two raters how far they said the same of the same lines; none where they share no line."""
    found = []
    for one, other in combinations(ratings, 2):
        both = [(one.said[item], other.said[item]) for item in one.said if item in other.said]
        if both:
            found.append({"raters": [one.rater, other.rater], **vars(stats.agreement(both))})
    return found


def _words(report: Report, key: Key, ratings: Sequence[Ratings]) -> list[str]:
    metric = RATING if key.scale == "marks" else PREFERRED
    scored = [(one.candidate, score) for one in report.candidates if (score := one.score(metric))]
    scored.sort(key=lambda one: -one[1].value)
    who = "1 person" if len(ratings) == 1 else f"{len(ratings)} people"
    figures = "; ".join(f"{name} {_figure(score, key.scale)}" for name, score in scored)
    what = "marks from 1 to 5" if key.scale == "marks" else "the share of rows on which it was preferred"
    lines = [f"{who} rated blindly, {what}: {figures}."]
    pair = next((one for one in report.pairs if one.metric == metric), None)
    if pair is not None and len(scored) == 2:
        verdict = "a tie on these rows" if pair.low <= 0 <= pair.high else "a difference that these rows show"
        factor, unit = (1.0, "") if key.scale == "marks" else (100.0, " points")
        off, low, high = (value * factor for value in (pair.difference, pair.low, pair.high))
        lines.append(f"{pair.a} less {pair.b}: {off:+.2f}{unit} ({low:+.2f} to {high:+.2f}, n {pair.n:,}): {verdict}.")
    return [*lines, *_agreed(report.candidates[0].details["ratings"]["agreement"])]


def _agreed(found: Sequence[JsonObject]) -> list[str]:
    said = []
    for one in found:
        kappa = "" if one["kappa"] is None else f", kappa {one['kappa']:.2f}"
        kappa += "" if one["kappa"] is None else f" ({one['kappa_low']:.2f} to {one['kappa_high']:.2f})"
        a, b = one["raters"]
        said.append(
            f"{a} and {b} said the same of {one['share']:.1%} ({one['share_low'] * 100:.1f} to "
            f"{one['share_high'] * 100:.1f}) of {one['n']:,} lines{kappa}."
        )
    return said


def _figure(score: Score, scale: Scale) -> str:
    if scale == "marks":
        return f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f}, n {score.n:,})"
    return f"{score.value:.1%} ({score.low * 100:.1f} to {score.high * 100:.1f}, n {score.n:,})"
