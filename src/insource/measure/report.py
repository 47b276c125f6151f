"""Every contender on the same rows, one after another, and the Report of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np

from insource.errors import EngineDown, InsourceError, Invalid
from insource.measure import words
from insource.measure.compare import pairs
from insource.measure.evidence import confusions, different, unanswered
from insource.measure.figures import scores
from insource.measure.run import Answer, Answered, Progress, Run, ask_all, sample
from insource.measure.sureness import sureness
from insource.nouns import Candidate, Example, Failures, JsonObject, Latency, Report, Score, Task, digest
from insource.stats import clopper_pearson_upper

LOG = "log"  # the kind of who is not asked: its answers are from a log


@dataclass(frozen=True)
class Contender:
    """Someone to measure. `open` gives its way to answer for as long as it is measured, and raises what keeps it out.

    `rows` asks only a stratified sample of so many rows; `priced` says that the records carry its price.
    """

    name: str
    kind: str
    open: Callable[[], AbstractAsyncContextManager[Answer]]
    rows: int | None = None
    priced: bool = False
    fingerprint: str = ""


Picked = Callable[[Contender], Sequence[tuple[int, Example]]]


@dataclass(frozen=True)
class About:
    """What the report says of its making: the dataset's digest, the split, code and machine, and notes in words."""

    dataset: str
    split: str
    code: str = ""
    machine: str = ""
    notes: tuple[str, ...] = ()
    seed: int = 0


async def measure(
    task: Task, examples: Sequence[Example], contenders: Sequence[Contender], about: About, *, progress: Progress
) -> Report:
    """Measures `contenders` on `examples`. One that cannot be opened, or goes down, is reported as failed.

    Raises `Invalid` without rows or contenders, `EngineDown` when not one of them could be measured.
    """

    def picked(contender: Contender) -> list[tuple[int, Example]]:
        return sample(task, examples, contender.rows or len(examples), seed=about.seed)

    if not examples or not contenders:
        what = f"rows in the split {about.split}" if not examples else "candidates"
        raise Invalid(f"{task.name} has no {what} to measure", hint=f"insource collect {task.name} FILE --split test")
    runs, failed = await asked(task, contenders, picked, progress=progress)
    return assemble(task, contenders, runs, failed, about)


async def asked(
    task: Task, contenders: Sequence[Contender], picked: Picked, *, progress: Progress
) -> tuple[dict[str, Run], dict[str, str]]:
    """The run of each contender on the rows that are `picked` for it, and why others failed, by name.

    Raises `EngineDown` when not one of them could be measured.
    """
    runs: dict[str, Run] = {}
    failed: dict[str, str] = {}
    for contender in contenders:
        rows = picked(contender)
        progress(f"opening {contender.name}", 0, len(rows))
        try:
            async with contender.open() as answer:
                runs[contender.name] = await ask_all(task, rows, answer, what=contender.name, progress=progress)
        except InsourceError as error:
            failed[contender.name] = f"{error} ({error.hint})" if error.hint else str(error)
        except ModuleNotFoundError as error:
            failed[contender.name] = f"a package is missing: {error.name} (pip install 'insource[train]')"
    if not runs:
        said = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise EngineDown(f"no candidate could be measured: {said}", hint="insource measure TASK --candidate baseline")
    return runs, failed


def assemble(
    task: Task, contenders: Sequence[Contender], runs: dict[str, Run], failed: dict[str, str], about: About
) -> Report:
    """The report of finished runs, by contender's name."""
    candidates = [_candidate(task, c, runs[c.name]) for c in contenders if c.name in runs]
    answered: dict[str, Sequence[Answered]] = {name: run.rows for name, run in runs.items()}
    report = Report(
        task=task.name,
        dataset=about.dataset,
        split=about.split,
        candidates=tuple(candidates),
        pairs=tuple(pairs(task, answered)),
        acceptance=task.acceptance,
        failed=failed,
        rows=tuple(different(task, answered, seed=about.seed)),
        task_digest=digest(task),
        code=about.code,
        machine=about.machine,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    report = msgspec.structs.replace(report, summary=words.summary(task, report, about.notes))
    return msgspec.structs.replace(report, id=digest(report))


def _candidate(task: Task, contender: Contender, run: Run) -> Candidate:
    answered = [row for row in run.rows if row.prediction is not None]
    invalid = sum(not row.valid for row in answered)
    confidence, drawn = sureness(task, run.rows)
    details: JsonObject = {
        "asked": len(run.rows),
        "timed": len(run.latencies_ms),
        "unanswered": unanswered(run.rows),
        "confusions": confusions(task, run.rows),
        **drawn,
    }
    found = Candidate(
        candidate=contender.name,
        kind=contender.kind,
        scores=tuple(_finite([*scores(task, run.rows), *confidence])),
        latency_ms=_latency(run.latencies_ms),
        usd_per_1k=_usd_per_1k(contender, answered),
        failures=Failures(n=len(answered), invalid=invalid, upper95=clopper_pearson_upper(invalid, len(answered))),
        rows_per_s=run.rows_per_s,
        fingerprint=contender.fingerprint,
        details=details,
    )
    lines = words.acceptance(task, found)
    return msgspec.structs.replace(found, details={**details, "acceptance": lines}) if lines else found


def _usd_per_1k(contender: Contender, answered: Sequence[Answered]) -> float | None:
    """The mean of a call; of a log only of the calls whose cost is known, which says nothing of the others."""
    paid = [row.usd for row in answered if row.usd or contender.kind != LOG]
    return 1000 * sum(paid) / len(paid) if contender.priced and paid else None


def _finite(found: Sequence[Score]) -> list[Score]:
    """Scores whose figures JSON can hold."""
    return [score for score in found if np.isfinite([score.value, score.low, score.high]).all()]


def _latency(milliseconds: Sequence[float]) -> Latency:
    p50, p95, p99 = (float(q) for q in np.percentile(milliseconds or [0.0], [50, 95, 99]))
    return Latency(p50=p50, p95=p95, p99=p99)
