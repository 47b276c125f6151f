"""The gate's checks: what was demanded, what was found, does it hold. Pure: values in, `Check` out.

A check decides on the point estimate, because that is the figure the user demanded; where its 95% interval reaches
across the demand the check says so in `detail["remark"]`, so that nobody takes luck for proof.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from math import log

from insource.engines.artefact import Manifest
from insource.errors import Invalid
from insource.nouns import Candidate, Check, JsonObject, Pair, Release, Report, Score, Task

BASELINE = "baseline"
AGREEMENT = 0.995
AS_SURE, TAIL = 0.25, 0.001
LEAK = 0.01
LATENCIES = ("p50_ms", "p95_ms", "p99_ms")
LOWER_IS_BETTER = ("ece", "brier", "aurc", *LATENCIES)
OF_CONFIDENCE = ("ece", "brier", "aurc", "share_at_85", "accuracy_at_85", "coverage_at_5pct_error")
OF_KIND = {
    "classify": ("accuracy", "macro_f1"),
    "extract": ("f1", "exact", "precision", "recall"),
    "generate": ("exact", "token_f1", "similarity"),
}
OF_FIELD = {"classify": ("accuracy", "macro_f1"), "extract": ("f1", "precision", "recall"), "generate": ()}
FEW = 200


def demandable(task: Task) -> tuple[str, ...]:
    """Every key that `[acceptance]` of this task may hold."""
    fields = [f"{field}.{metric}" for field in task.fields for metric in OF_FIELD[task.kind]]
    if task.kind == "classify" and len(task.outputs) == 1:
        fields = [f"{task.outputs[0].name}.accuracy"]
    levels = ["path_accuracy"] if any(output.taxonomy for output in task.outputs) else []
    return (*OF_KIND[task.kind], *levels, *OF_CONFIDENCE, *LATENCIES, *fields)


def check_demands(task: Task) -> None:
    """Passes when every line of `[acceptance]` can be decided.

    Raises `Invalid` for an unknown key (naming the known ones) and for a share that is not between 0 and 1.
    """
    known = demandable(task)
    for key, demand in task.acceptance.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            guess = f", did you mean {near[0]}?" if near else ""
            raise Invalid(f"tasks/{task.name}.toml: acceptance cannot demand {key!r}{guess}",
                          hint=f"known: {', '.join(known)}")  # fmt: skip
        if key in LATENCIES and not 0 < demand < float("inf"):
            raise Invalid(f"tasks/{task.name}.toml: acceptance.{key} is {demand:g}, not a time in milliseconds")
        if key not in LATENCIES and not 0 <= demand <= 1:
            raise Invalid(f"tasks/{task.name}.toml: acceptance.{key} is {demand:g}, not a share from 0 to 1",
                          hint=f"{key} = {demand / 100:g}" if 1 < demand <= 100 else "")  # fmt: skip


def acceptance(task: Task, report: Report, name: str) -> tuple[Check, ...]:
    """One check per line of the task's `[acceptance]`, for the candidate called `name`.

    A demand that was not measured is not met. Without any demand there is one failing check that says so: what is
    good enough is written down before the results are looked at.
    """
    if not task.acceptance:
        remark = f"write what is good enough into tasks/{task.name}.toml under [acceptance], as in accuracy = 0.9"
        return (
            Check(
                name="acceptance", demanded="at least one line", found="none", passed=False, detail={"remark": remark}
            ),
        )
    candidate = _candidate(report, name)
    return tuple(_demand(candidate, key, demand) for key, demand in task.acceptance.items())


def against_baseline(report: Report, release: Release, metric: str) -> Check:
    """The release is not significantly worse than the linear baseline: the paired 95% interval is not all below zero.

    Both answered the same rows. A tie passes and says so. Kinds without a baseline pass and say so.
    """
    demanded = "not significantly worse than the baseline"
    if BASELINE in report.failed:
        said = {"remark": f"the baseline could not be measured: {report.failed[BASELINE]}"}
        return Check(name=BASELINE, demanded=demanded, found="not compared", passed=False, detail=said)
    if all(candidate.candidate != BASELINE for candidate in report.candidates):
        remark = "the linear baseline only classifies: there is nothing to compare this kind of task with"
        return Check(name=BASELINE, demanded=demanded, found="no baseline fits", passed=True, detail={"remark": remark})
    pair = baseline_pair(report, release.name, metric)
    if pair is None:
        return Check(name=BASELINE, demanded=demanded, found="not compared", passed=False)
    points = f"{pair.difference * 100:+.1f} points"
    interval = f"({pair.low * 100:+.1f} to {pair.high * 100:+.1f}, n {pair.n:,})"
    detail = {"metric": pair.metric, "difference": pair.difference, "low": pair.low, "high": pair.high,
              "p": pair.p, "n": pair.n, "remark": _standing(release, pair)}  # fmt: skip
    return Check(
        name=BASELINE,
        demanded=demanded,
        found=f"{pair.metric} {points} {interval}",
        passed=pair.high >= 0,
        detail=detail,
    )


def agreement(trained: Sequence[JsonObject | None], served: Sequence[JsonObject | None]) -> Check:
    """The artefact as served gives the labels that its trainer saw: at least 99.5% of them, over rows and fields."""
    asked = [(field, a, b) for a, b in zip(trained, served, strict=True) for field in a or {}]
    same = sum((b or {}).get(field) == (a or {})[field] for field, a, b in asked)
    share = same / len(asked) if asked else 0.0
    return Check(
        name="served = trained",
        demanded=f"≥ {AGREEMENT:.1%} of labels agree",
        found=f"{share:.2%} ({same:,} of {len(asked):,})" if asked else "the trainer left no rows",
        passed=bool(asked) and share >= AGREEMENT,
        detail={"share": share, "same": same, "n": len(asked), "rows": len(trained)},
    )


def as_sure(trained: Sequence[float | None], served: Sequence[float | None]) -> Check:
    """The artefact as served is as sure as its trainer saw, for the promise was fitted on those confidences.

    The mean distance of a row's two confidences in log-odds, each held within `TAIL` of 0 and 1, is at most `AS_SURE`.
    Rows of which either is not known do not count. docs/decisions/0048 says what was measured.
    """
    apart = [
        abs(_log_odds(a) - _log_odds(b))
        for a, b in zip(trained, served, strict=True)
        if a is not None and b is not None
    ]
    mean = sum(apart) / len(apart) if apart else 0.0
    return Check(
        name="as sure as trained",
        demanded=f"confidences at most {AS_SURE:g} apart in log-odds, on average",
        found=f"{mean:.3f} (n {len(apart):,})" if apart else "the trainer left no confidences",
        passed=mean <= AS_SURE,
        detail={"mean": mean, "most": max(apart, default=0.0), "n": len(apart)},
    )


def _log_odds(confidence: float) -> float:
    held = min(max(confidence, TAIL), 1 - TAIL)
    return log(held / (1 - held))


def well_formed(report: Report, name: str) -> Check:
    """Every row got an answer and not one broke the task's contract; with the 95% bound that n allows to claim."""
    candidate = _candidate(report, name)
    failures = candidate.failures
    unanswered = int(candidate.details.get("asked", failures.n)) - failures.n
    silent = f", {unanswered:,} rows without an answer" if unanswered else ""
    return Check(
        name="well-formed",
        demanded="0 malformed outputs",
        found=f"{failures.invalid:,} of {failures.n:,} (at most {failures.upper95:.2%} at 95%){silent}",
        passed=failures.invalid == 0 and unanswered == 0 and failures.n > 0,
        detail={"invalid": failures.invalid, "unanswered": unanswered, "n": failures.n, "upper95": failures.upper95},
    )


def whole(faults: Sequence[str], files: int) -> Check:
    """Every file has the SHA-256 that the released manifest names, and no file is missing or added."""
    found = f"{files} files, all as released" if not faults else "; ".join(faults)
    return Check(
        name="artefact",
        demanded="every file as released",
        found=found,
        passed=not faults and files > 0,
        detail={"faults": list(faults), "files": files},
    )


def made_for(manifest: Manifest, task: Task) -> Check:
    """The artefact answers what the task asks today: same kind, same outputs and labels, same schema."""
    theirs = manifest.task
    differs = [
        word
        for word, a, b in (
            ("kind", theirs.kind, task.kind),
            ("outputs", theirs.outputs, task.outputs),
            ("schema", theirs.schema, task.schema),
        )
        if a != b
    ]
    found = "the same" if not differs else f"{' and '.join(differs)} changed since it was trained"
    return Check(name="task", demanded="trained for the task as it is now", found=found, passed=not differs)


def unseen(test: Sequence[str], trained_on: Sequence[str]) -> Check:
    """Hardly any input of the test rows was among those the release was trained or calibrated on: at most 1%."""
    known = set(trained_on)
    leaked = sum(text in known for text in test)
    return Check(
        name="unseen rows",
        demanded="at most 1% of test rows were trained on",
        found=f"{leaked:,} of {len(test):,} were trained on",
        passed=leaked <= LEAK * len(test),
        detail={"leaked": leaked, "n": len(test)},
    )


def _candidate(report: Report, name: str) -> Candidate:
    for candidate in report.candidates:
        if candidate.candidate == name:
            return candidate
    known = ", ".join(candidate.candidate for candidate in report.candidates)
    raise Invalid(f"the report has no candidate {name}", hint=f"it has {known}")


def _demand(candidate: Candidate, key: str, demand: float) -> Check:
    if key in LATENCIES:
        return _fast(candidate, key, demand)
    score = _score(candidate, key)
    lower = key.rpartition(".")[2] in LOWER_IS_BETTER
    demanded = f"{'≤' if lower else '≥'} {demand:g}"
    if score is None:
        return Check(name=key, demanded=demanded, found="not measured", passed=False)
    detail: JsonObject = {"value": score.value, "low": score.low, "high": score.high, "n": score.n, "demand": demand}
    remark = _doubt(score, demand)
    return Check(
        name=key,
        demanded=demanded,
        found=f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f}, n {score.n:,})",
        passed=score.value <= demand if lower else score.value >= demand,
        detail=detail | ({"remark": remark} if remark else {}),
    )


def _fast(candidate: Candidate, key: str, demand: float) -> Check:
    value: float = getattr(candidate.latency_ms, key.removesuffix("_ms"))
    n = int(candidate.details.get("timed", candidate.failures.n))
    return Check(
        name=key,
        demanded=f"≤ {demand:g} ms",
        found=f"{value:.1f} ms (n {n:,}, one call at a time)",
        passed=value <= demand,
        detail={"value": value, "demand": demand, "n": n},
    )


def _score(candidate: Candidate, key: str) -> Score | None:
    """The score behind a key of `[acceptance]`: the metric of that name, or `FIELD.METRIC` as a slice."""
    found = candidate.score(key)
    if found is None and "." in key:
        field, _, metric = key.rpartition(".")
        found = candidate.score(metric, field)
    return found


def _doubt(score: Score, demand: float) -> str:
    if not score.low < demand < score.high:
        return ""
    few = f" of {score.n:,} rows" if score.n < FEW else ""
    return f"the 95% interval{few} reaches across the demand: this can be luck; more test rows would tell"


def baseline_pair(report: Report, name: str, metric: str) -> Pair | None:
    """The release minus the baseline on `metric`, else on the first metric the two were compared on."""
    both = [pair for pair in report.pairs if {pair.a, pair.b} == {name, BASELINE}]
    pair = next((pair for pair in both if pair.metric == metric), both[0] if both else None)
    return pair if pair is None or pair.a == name else _turned(pair)


def _turned(pair: Pair) -> Pair:
    return Pair(
        a=pair.b,
        b=pair.a,
        metric=pair.metric,
        difference=0.0 - pair.difference,
        low=0.0 - pair.high,
        high=0.0 - pair.low,
        p=pair.p,
        n=pair.n,
        a_only=pair.b_only,
        b_only=pair.a_only,
    )


def _standing(release: Release, pair: Pair) -> str:
    if pair.high < 0:
        return "significantly worse than the baseline: the baseline is the better release"
    if release.engine == "linear" and pair.a_only == pair.b_only == 0:
        return "this release is the baseline"
    if pair.low <= 0:
        return "a tie: these rows do not tell them apart, and the baseline is cheaper to run"
    return "better than the baseline"
