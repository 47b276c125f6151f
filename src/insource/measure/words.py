"""The report in words. The first line says who wins; the baseline wins whenever nothing is better than it."""

from collections.abc import Sequence

from insource.nouns import Candidate, JsonObject, Pair, Report, Score, Task

BASELINE = "baseline"
LATENCIES = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99"}
LOWER_IS_BETTER = ("ece", "brier", "aurc", *LATENCIES)
NAMES = {
    "macro_f1": "macro-F1", "f1": "F1", "exact": "exact match", "token_f1": "token F1", "ece": "calibration error",
    "path_accuracy": "path accuracy", "p50_ms": "p50 latency", "p95_ms": "p95 latency", "p99_ms": "p99 latency",
}  # fmt: skip


def summary(task: Task, report: Report, notes: Sequence[str] = ()) -> tuple[str, ...]:
    """The report in sentences: who wins, the others against it, what failed, what was demanded, and the notes."""
    if not report.candidates:
        return ("Nothing could be measured.", *_failed(report))
    metric = leading(task, report)
    winner = best(report, metric)
    lines = [_first(report, winner, metric), *_others(report, winner, metric), *_failed(report)]
    return (*lines, *_acceptance(report), *_answered(winner), *_like(winner), *notes)


def leading(task: Task, report: Report) -> str:
    """The metric that decides: the task's own where it was measured, else the first of the first candidate."""
    measured = [score.metric for candidate in report.candidates for score in candidate.scores if score.slice is None]
    return task.metric if task.metric in measured or not measured else measured[0]


def best(report: Report, metric: str) -> Candidate:
    """The winner: the baseline unless something is better than it beyond the interval, else who loses least."""
    baseline = next((c for c in report.candidates if c.kind == BASELINE and c.score(metric)), None)
    better = [c for c in report.candidates if baseline is None or _beats(report, c, baseline, metric)]
    if not better:
        return baseline or report.candidates[0]
    return max(better, key=lambda candidate: _standing(report, candidate, metric))


def between(report: Report, a: str, b: str, metric: str) -> Pair | None:
    """The difference a minus b on `metric`, whichever way round the report holds it; None when they share no rows."""
    for pair in report.pairs:
        if pair.metric == metric and (pair.a, pair.b) == (a, b):
            return pair
        if pair.metric == metric and (pair.a, pair.b) == (b, a):
            return Pair(a=a, b=b, metric=metric, difference=-pair.difference, low=-pair.high, high=-pair.low,
                        p=pair.p, n=pair.n, a_only=pair.b_only, b_only=pair.a_only)  # fmt: skip
    return None


def verdict(pair: Pair) -> str:
    """How a stands against b by the interval of the difference: "better", "worse" or "tie"."""
    return "better" if pair.low > 0 else "worse" if pair.high < 0 else "tie"


def acceptance(task: Task, candidate: Candidate) -> list[JsonObject]:
    """Each line of the task's acceptance: {name, demanded, found, met}; not measured is not met."""
    return [_line(candidate, key, demand) for key, demand in task.acceptance.items()]


def called(metric: str) -> str:
    """A metric's name for people; `FIELD.METRIC` begins with the field."""
    field, _, name = metric.rpartition(".")
    return f"{field} {NAMES.get(name, name.replace('_', ' '))}".strip()


def points(pair: Pair) -> str:
    """A difference with its interval: "+2.1 points (+1.2 to +3.0, n 3,080)"."""
    low, high = pair.low * 100, pair.high * 100
    return f"{round(pair.difference * 100, 1) + 0.0:+.1f} points ({low:+.1f} to {high:+.1f}, n {pair.n:,})"


def _first(report: Report, winner: Candidate, metric: str) -> str:
    score = winner.score(metric)
    name = "The linear baseline" if winner.kind == BASELINE else winner.candidate
    figure = f"{score.value:.1%} {called(metric)} ({_span(score)})" if score else "the only one with an answer"
    if len(report.candidates) == 1:
        return f"{name} was measured alone: {figure}."
    rival = _rival(report, winner, metric)
    pair = between(report, rival.candidate, winner.candidate, metric)
    if pair is None:
        return f"{name} wins: {figure}."
    other = "the linear baseline" if rival.kind == BASELINE else rival.candidate
    if verdict(pair) != "tie":
        return f"{name} wins: {figure}; {other} is {_apart(pair, rival.score(metric))}."
    if winner.kind == BASELINE:
        return f"The linear baseline is not beaten: {figure}; {other} ties with it, {points(pair)}."
    return f"{name} leads: {figure}, but {other} ties with it, {points(pair)}."


def _rival(report: Report, winner: Candidate, metric: str) -> Candidate:
    """The best of the others: the one the first line compares the winner with."""
    rivals = [candidate for candidate in report.candidates if candidate is not winner]
    return max(rivals, key=lambda candidate: _standing(report, candidate, metric))


def _others(report: Report, winner: Candidate, metric: str) -> list[str]:
    lines: list[str] = []
    told = (winner, _rival(report, winner, metric)) if len(report.candidates) > 1 else (winner,)
    for candidate in report.candidates:
        pair = between(report, candidate.candidate, winner.candidate, metric)
        score = candidate.score(metric)
        if candidate not in told and score is not None and pair is not None:
            lines.append(f"{candidate.candidate}: {score.value:.1%} ({_span(score)}), {_apart(pair, score)}.")
    return lines


def _span(score: Score) -> str:
    return f"{score.low * 100:.1f} to {score.high * 100:.1f}, n {score.n:,}"


def _apart(pair: Pair, score: Score | None) -> str:
    """How a stands to b in words, with the interval; the rows only where they are not those of the score."""
    shared = "" if score is not None and score.n == pair.n else f" on {pair.n:,} shared rows"
    if verdict(pair) == "tie":
        return f"a tie: {pair.difference * 100:+.1f} points ({pair.low * 100:+.1f} to {pair.high * 100:+.1f}){shared}"
    low, high = sorted((abs(pair.low) * 100, abs(pair.high) * 100))
    word = "behind" if verdict(pair) == "worse" else "ahead"
    return f"{abs(pair.difference) * 100:.1f} points {word} ({low:.1f} to {high:.1f}){shared}"


def _failed(report: Report) -> list[str]:
    return [f"{name} could not be measured: {reason}" for name, reason in report.failed.items()]


def _acceptance(report: Report) -> list[str]:
    """Who meets every demand, and who misses which."""
    asked = [candidate for candidate in report.candidates if _demanded(candidate)]
    meet, miss = [], []
    for candidate in asked:
        missed = [called(line["name"]) for line in _demanded(candidate) if not line["met"]]
        if missed:
            miss.append(f"{candidate.candidate} ({', '.join(missed)})")
        else:
            meet.append(candidate.candidate)
    said = [f"Every demand of [acceptance] is met by {', '.join(meet) or 'none'}."] if asked else []
    return said + ([f"Missed: {'; '.join(miss)}."] if miss else [])


def _demanded(candidate: Candidate) -> list[JsonObject]:
    lines: list[JsonObject] = candidate.details.get("acceptance", [])
    return lines


def _answered(winner: Candidate) -> list[str]:
    share, right = winner.score("share_at_85"), winner.score("accuracy_at_85")
    if share is None or right is None:
        return []
    sure = f"{share.value:.1%} of the answers ({_span(share)}) with a confidence of 0.85 or more"
    return [f"{winner.candidate} gives {sure}; {right.value:.1%} of those are right ({_span(right)})."]


def _like(winner: Candidate) -> list[str]:
    own, chance = winner.score("similarity"), winner.score("similarity_by_chance")
    if own is None or chance is None:
        return []
    said = f"By its meaning what {winner.candidate} says is {own.value:.1%} like the target ({_span(own)}), and "
    said += (
        f"{chance.value:.1%} like another row's ({_span(chance)}): so much texts of this task have in common anyway."
    )
    return [said]


def _beats(report: Report, candidate: Candidate, baseline: Candidate, metric: str) -> bool:
    pair = between(report, candidate.candidate, baseline.candidate, metric)
    return pair is not None and verdict(pair) == "better"


def _standing(report: Report, candidate: Candidate, metric: str) -> tuple[int, float]:
    """Wins less losses against all others, then the figure itself."""
    balance = 0
    for other in report.candidates:
        pair = between(report, candidate.candidate, other.candidate, metric)
        balance += {"better": 1, "worse": -1, "tie": 0}[verdict(pair)] if pair else 0
    score = candidate.score(metric)
    return balance, score.value if score else float("-inf")


def _line(candidate: Candidate, key: str, demand: float) -> JsonObject:
    lower = key.rpartition(".")[2] in LOWER_IS_BETTER
    sign = "at most" if lower else "at least"
    if key in LATENCIES:
        value: float = getattr(candidate.latency_ms, LATENCIES[key])
        return {"name": key, "demanded": f"{sign} {demand:g} ms", "found": f"{value:.1f} ms", "met": value <= demand}
    field, _, metric = key.rpartition(".")
    score = candidate.score(key) or candidate.score(metric, field or None)
    if score is None:
        return {"name": key, "demanded": f"{sign} {demand:g}", "found": "not measured", "met": False}
    met = score.value <= demand if lower else score.value >= demand
    return {"name": key, "demanded": f"{sign} {demand:g}", "found": f"{score.value:.3f}", "met": met}
