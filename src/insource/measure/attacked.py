"""The Report of an adversarial set: the scores of the hard rows, each way beside its own clean rows, and in words."""

import dataclasses
from collections.abc import Sequence

import msgspec

from insource.measure.adversarial import CLEAN, TAG
from insource.measure.report import About, Contender, assemble
from insource.measure.robustness import robustness, sentences
from insource.measure.run import Answered, Run
from insource.nouns import Candidate, Failures, Report, Task, digest
from insource.stats import clopper_pearson_upper


def attacked(
    task: Task, contenders: Sequence[Contender], runs: dict[str, Run], failed: dict[str, str], about: About
) -> Report:
    """The report of finished runs on an adversarial set, by contender's name.

    Its scores without a slice are of the hard rows of which is known what is right. What `[acceptance]` demands was
    written for plain rows, so it is not held against these.
    """
    plain = msgspec.structs.replace(task, acceptance={})
    hard = {name: Run(_hard(run.rows), run.latencies_ms, run.rows_per_s) for name, run in runs.items()}
    report = assemble(plain, contenders, hard, failed, about)
    candidates = tuple(_with(task, one, runs[one.candidate]) for one in report.candidates)
    report = msgspec.structs.replace(report, candidates=candidates, task_digest=digest(task), id="")
    report = msgspec.structs.replace(report, summary=(*sentences(report), *report.summary))
    return msgspec.structs.replace(report, id=digest(report))


def _hard(rows: Sequence[Answered]) -> tuple[Answered, ...]:
    return tuple(_untagged(row) for row in rows if row.example.tags[TAG] != CLEAN and row.example.target)


def _untagged(row: Answered) -> Answered:
    """The row without its way, which has figures of its own."""
    tags = {key: value for key, value in row.example.tags.items() if key != TAG}
    return dataclasses.replace(row, example=msgspec.structs.replace(row.example, tags=tags))


def _with(task: Task, candidate: Candidate, run: Run) -> Candidate:
    scores, details = robustness(task, run.rows)
    answered = [row for row in run.rows if row.prediction is not None]
    invalid = sum(not row.valid for row in answered)
    return msgspec.structs.replace(
        candidate,
        scores=(*candidate.scores, *scores),
        failures=Failures(n=len(answered), invalid=invalid, upper95=clopper_pearson_upper(invalid, len(answered))),
        details={**candidate.details, "asked": len(run.rows), **details},
    )
